-- Reads the state of a limit. Writes nothing.
-- KEYS: leases, waiting, state (see update_permits.lua), bucket (see take_tokens.lua).
-- Returns: permits or -1, then for each holder of permits: holder, held, time left of its lease,
--          then for each that waits: holder, what it needs, how long it has waited,
--          then for each quota of the bucket: interval, burst, how far it is in debt.

local leases, waiting, state, bucket = unpack(KEYS)

local holders, waiters, tokens = {}, {}, {}
local limit = tonumber(redis.call('HGET', state, 'permits')) or -1
local all = redis.call('ZRANGE', leases, '(' .. int(now), '+inf', 'BYSCORE', 'WITHSCORES')
for index = 1, #all, 2 do
    local held = tonumber(redis.call('HGET', state, 'held:' .. all[index])) or 0
    if held > 0 then
        table.insert(holders, { all[index], held, tonumber(all[index + 1]) - now })
    end
end
for _, holder in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
    local of = redis.call('HMGET', state, 'least:' .. holder, 'since:' .. holder)
    local lease = tonumber(redis.call('ZSCORE', leases, holder)) or 0
    if of[1] and lease > now then
        table.insert(waiters, { holder, tonumber(of[1]), now - tonumber(of[2]) })
    end
end
local held = read(bucket) or {}
for index = 3, #held, 3 do
    local debt = math.max(0, held[index + 2] - now)
    table.insert(tokens, { held[index], held[index + 1], debt })
end
return { limit, holders, waiters, tokens }
