-- Shared by all scripts. Times are microseconds of the server's clock, below 2^53 until 2255.

-- Formats an integer. Lua itself keeps 14 digits only.
local function int(value)
    return string.format('%d', value)
end

-- Writes a list of integers as one field, and reads it.
local function text(list)
    local words = {}
    for index, value in ipairs(list) do
        words[index] = int(value)
    end
    return table.concat(words, ' ')
end

local function integers(field)
    local list = {}
    for word in string.gmatch(field or '', '%d+') do
        table.insert(list, tonumber(word))
    end
    return list
end

-- Returns the latest of some times, 0 of none.
local function latest(times)
    return math.max(0, unpack(times))
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Lets a key expire at a time, rounded up to a millisecond.
local function expire_at(key, at)
    redis.call('PEXPIREAT', key, int(math.ceil(at / 1000)))
end

