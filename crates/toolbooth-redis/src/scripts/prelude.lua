-- Shared by all scripts. Times are microseconds of the server's clock, below 2^53 until 2255.

-- Formats an integer. Lua itself keeps 14 digits only.
local function int(value)
    return string.format('%d', value)
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Lets a key expire at a time, rounded up to a millisecond.
local function expire_at(key, at)
    redis.call('PEXPIREAT', key, int(math.ceil(at / 1000)))
end
