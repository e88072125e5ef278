-- Returns tokens that were not used.
-- KEYS: the bucket.
-- ARGV: receipt, tokens, age.

local bucket = KEYS[1]
local receipt, tokens, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local stored = redis.call('HMGET', bucket, 'arrivals', 'quotas', 'remembered')
local arrivals, quotas = integers(stored[1]), integers(stored[2])
local remembered = tonumber(stored[3]) or 0
if latest(arrivals) <= now and remembered <= now then
    return 0
end

local is_last, reserved = receipt == arrivals[1], false
for index, arrival in ipairs(arrivals) do
    reserved = reserved or arrival - quotas[2 * index - 1] * quotas[2 * index] > now
end
for index, arrival in ipairs(arrivals) do
    local credit = 0
    if is_last then
        credit = tokens * quotas[2 * index - 1]
    elseif not reserved then
        -- The bucket gets what it has not refilled by itself.
        credit = math.max(0, tokens * quotas[2 * index - 1] - age)
    end
    arrivals[index] = arrival - math.min(credit, arrival)
end

if latest(arrivals) <= now and remembered <= now then
    redis.call('DEL', bucket)
else
    redis.call('HSET', bucket, 'arrivals', text(arrivals))
    expire_at(bucket, math.max(latest(arrivals), remembered))
end
return 0
