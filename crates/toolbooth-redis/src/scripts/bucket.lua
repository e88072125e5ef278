-- A bucket of tokens is one value in MessagePack: until when its quotas are remembered, the quotas
-- that a process was last configured with, and for each quota its interval, its burst, and the
-- theoretical arrival time of the next token.

-- Returns when a bucket is full and its quotas are forgotten.
local function full_at(state)
    local latest = state[1]
    for index = 5, #state, 3 do
        latest = math.max(latest, state[index])
    end
    return latest
end

-- Returns a bucket; nil if it is full.
local function read_bucket(key)
    local value = redis.call('GET', key)
    if not value then
        return nil
    end
    local state = cmsgpack.unpack(value)
    if type(state) ~= 'table' then
        error({ err = 'WRONGTYPE the key has no bucket of tokens' })
    end
    return full_at(state) > now and state or nil
end

local function write_bucket(key, state)
    redis.call('SET', key, cmsgpack.pack(state), 'PXAT', int(math.ceil(full_at(state) / 1000)))
end
