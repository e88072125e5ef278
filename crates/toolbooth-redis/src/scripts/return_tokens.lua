-- Returns tokens that were not used.
-- KEYS: the bucket.
-- ARGV: receipt, tokens, age.

local bucket = KEYS[1]
local receipt, tokens, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local state = read_bucket(bucket)
if not state then
    return 0
end

local is_last, reserved = receipt == state[5], false
for index = 3, #state, 3 do
    reserved = reserved or state[index + 2] - state[index] * state[index + 1] > now
end
for index = 3, #state, 3 do
    local credit = 0
    if is_last then
        credit = tokens * state[index]
    elseif not reserved then
        -- The bucket gets what it has not refilled by itself.
        credit = math.max(0, tokens * state[index] - age)
    end
    state[index + 2] = state[index + 2] - math.min(credit, state[index + 2])
end

if full_at(state) <= now then
    redis.call('DEL', bucket)
else
    write_bucket(bucket, state)
end
return 0
