-- Returns tokens that were not used.
-- KEYS: the bucket.
-- ARGV: receipt, tokens, age.

local bucket = KEYS[1]
local receipt, tokens, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local stored = redis.call('HMGET', bucket, 'arrival', 'interval', 'burst', 'remembered')
local arrival, remembered = tonumber(stored[1]) or 0, tonumber(stored[4]) or 0
if arrival <= now and remembered <= now then
    return 0
end

local interval, burst = tonumber(stored[2]), tonumber(stored[3])
local credit = 0
if receipt == arrival then
    credit = tokens * interval
elseif arrival - interval * burst <= now then
    -- No token is reserved. The bucket gets what it has not refilled by itself.
    credit = math.max(0, tokens * interval - age)
end
arrival = arrival - math.min(credit, arrival)

if arrival <= now and remembered <= now then
    redis.call('DEL', bucket)
else
    redis.call('HSET', bucket, 'arrival', int(arrival))
    expire_at(bucket, math.max(arrival, remembered))
end
return 0
