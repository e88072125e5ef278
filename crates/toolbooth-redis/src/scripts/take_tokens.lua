-- Takes tokens of a bucket, by the generic cell rate algorithm for each of its quotas.
-- KEYS: the bucket.
-- ARGV: set (0 if no quota is known, 1 if the configuration has changed, 2 always), least, most,
--       max_wait, horizon, how long set quotas are remembered, then for each quota: interval, burst.
-- Returns: taken, wait, receipt, then as a list for each quota: interval, burst.

local bucket = KEYS[1]
local arg = {}
for index, value in ipairs(ARGV) do
    arg[index] = tonumber(value)
end
local set, least, most, max_wait, horizon, remember = unpack(arg, 1, 6)
local given, given_text = { unpack(arg, 7) }, table.concat(ARGV, ' ', 7)

-- arrivals: for each quota the theoretical arrival time of the next token.
-- quotas: for each its interval and burst.
-- configured: the quotas that a process was last configured with.
local stored = redis.call('HMGET', bucket, 'arrivals', 'quotas', 'remembered', 'configured')
local arrivals, quotas, quotas_text = integers(stored[1]), given, given_text
local remembered, configured = tonumber(stored[3]) or 0, stored[4]
local changed = false

if latest(arrivals) <= now and remembered <= now then
    arrivals, remembered, configured = {}, 0, given_text
else
    local replaces = set == 2
    if set == 1 and configured ~= given_text then
        configured, changed, replaces = given_text, true, true
    end
    local old_quotas = integers(stored[2])
    if replaces then
        local before = arrivals
        arrivals = {}
        for index = 1, #given / 2 do
            -- Tokens that are missing stay missing, up to the new burst. Exact up to 1 microsecond.
            local old, interval = old_quotas[2 * index - 1], given[2 * index - 1]
            local burst = given[2 * index]
            local missing = math.max(0, (before[index] or 0) - now)
            if missing > 0 then
                local whole = math.floor(missing / old)
                local rest = math.floor((missing - whole * old) * interval / old)
                missing = math.min(whole * interval + rest, burst * interval)
            end
            arrivals[index] = now + missing
        end
    else
        quotas, quotas_text = old_quotas, stored[2] or ''
    end
end
if set == 2 then
    remembered = now + remember
    changed = true
end

-- How long until a number of tokens is available by all quotas.
local function wait(tokens)
    local longest = 0
    for index = 1, #quotas / 2 do
        local interval, burst = quotas[2 * index - 1], quotas[2 * index]
        local debt = math.max(0, (arrivals[index] or 0) - now)
        longest = math.max(longest, debt + interval * tokens - interval * burst)
    end
    return longest
end

local taken, delay, available = 0, wait(least), least > 0
for index = 2, #quotas, 2 do
    available = available and least <= quotas[index]
end
if available and delay <= max_wait then
    -- With several quotas, it is not known when more tokens will be available.
    local ahead = #quotas == 2 and horizon or 0
    taken = most
    for index = 1, #quotas / 2 do
        local interval, burst = quotas[2 * index - 1], quotas[2 * index]
        local debt = math.max(0, (arrivals[index] or 0) - now)
        taken = math.min(taken, math.floor((ahead + interval * burst - debt) / interval))
    end
    taken = math.max(least, taken)
    -- All quotas count the tokens from when they are available.
    local start = now + delay
    delay = wait(taken)
    for index = 1, #quotas / 2 do
        local interval = quotas[2 * index - 1]
        arrivals[index] = math.max(arrivals[index] or 0, start) + interval * taken
    end
    changed = true
end

if changed then
    redis.call('HSET', bucket, 'arrivals', text(arrivals), 'quotas', quotas_text,
        'remembered', int(remembered), 'configured', configured)
    expire_at(bucket, math.max(latest(arrivals), remembered))
end
return { taken, delay, arrivals[1] or 0, quotas }
