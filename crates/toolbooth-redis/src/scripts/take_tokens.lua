-- Takes tokens of a bucket, by the generic cell rate algorithm.
-- KEYS: the bucket.
-- ARGV: interval, burst, set (0 if no quota is known, 1 if the configuration has changed, 2 always),
--       least, most, max_wait, horizon, how long a set quota is remembered.
-- Returns: taken, wait, receipt, interval, burst.

local bucket = KEYS[1]
local arg = {}
for index, value in ipairs(ARGV) do
    arg[index] = tonumber(value)
end
local interval, burst, set, least, most, max_wait, horizon, remember = unpack(arg)

-- arrival: the theoretical arrival time of the next token.
-- configured: the quota that a process was last configured with.
local stored = redis.call('HMGET', bucket, 'arrival', 'interval', 'burst', 'remembered', 'configured')
local arrival, remembered = tonumber(stored[1]) or 0, tonumber(stored[4]) or 0
local given, configured = int(interval) .. ' ' .. int(burst), stored[5]
local changed = false

if arrival <= now and remembered <= now then
    arrival, remembered, configured = 0, 0, given
else
    local old = tonumber(stored[2])
    local replaces = set == 2 or (set == 1 and configured ~= given)
    if set == 1 and configured ~= given then
        configured, changed = given, true
    end
    if not replaces then
        interval, burst = old, tonumber(stored[3])
    else
        -- Tokens that are missing stay missing, up to the new burst. Exact up to 1 microsecond.
        local missing = math.max(0, arrival - now)
        local whole = math.floor(missing / old)
        local rest = math.floor((missing - whole * old) * interval / old)
        missing = math.min(whole * interval + rest, burst * interval)
        arrival = now + missing
    end
end
if set == 2 then
    remembered = now + remember
    changed = true
end

-- How far the bucket is in debt, and the wait until a number of tokens is available.
local debt = math.max(0, arrival - now)
local function wait(tokens)
    return math.max(0, debt + interval * tokens - interval * burst)
end

local taken, delay = 0, wait(least)
if least > 0 and least <= burst and delay <= max_wait then
    local room = math.floor((horizon + interval * burst - debt) / interval)
    taken = math.max(least, math.min(most, room))
    delay = wait(taken)
    arrival = now + debt + interval * taken
    changed = true
end

if changed then
    local fields = { 'arrival', int(arrival), 'interval', int(interval), 'burst', int(burst) }
    redis.call('HSET', bucket, 'remembered', int(remembered), 'configured', configured, unpack(fields))
    expire_at(bucket, math.max(arrival, remembered))
end
return { taken, delay, arrival, interval, burst }
