-- Reads the state of a limit. Writes nothing.
-- KEYS: leases, waiting, state (see update_permits.lua), bucket (see take_tokens.lua).
-- Returns: permits or -1, then for each holder of permits: holder, held, time left of its lease,
--          then for each that waits: holder, what it needs, how long it has waited,
--          then for each quota of the bucket: interval, burst, how far it is in debt.

local leases, waiting, state, bucket = unpack(KEYS)

local holders, waiters, tokens = {}, {}, {}
local limit = redis.call('HGET', state, 'limit')
local permits = limit and cmsgpack.unpack(limit)[1] or -1
local all = redis.call('ZRANGE', leases, '(' .. int(now), '+inf', 'BYSCORE', 'WITHSCORES')
-- By holder, of those with a lease: see update_permits.lua.
local fields = {}
for index = 1, #all, 2 do
    local holder, left = all[index], tonumber(all[index + 1]) - now
    local value = redis.call('HGET', state, holder)
    if value then
        fields[holder] = cmsgpack.unpack(value)
        if fields[holder][2] > 0 then
            table.insert(holders, { holder, fields[holder][2], left })
        end
    end
end
for _, holder in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
    local of = fields[holder]
    if of and of[3] > 0 then
        table.insert(waiters, { holder, of[3], now - of[4] })
    end
end
local held = read_bucket(bucket) or {}
for index = 3, #held, 3 do
    local debt = math.max(0, held[index + 2] - now)
    table.insert(tokens, { held[index], held[index + 1], debt })
end
return { permits, holders, waiters, tokens }
