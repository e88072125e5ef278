-- Sets how many permits a holder has, and acquires more if it waits for some.
-- KEYS: leases (sorted set, holder -> end of its lease), waiting (sorted set, holder -> arrival),
--       state (hash).
-- ARGV: holder, number, permits, set, held, least, most, lifetime, turn,
--       how long a set limit is remembered, prefix of the channels.
-- Returns: granted, fence, permits, time until to ask again or -1.
--
-- Fields of the state:
--   permits, fence, arrivals   of the limit
--   configured                 the limit that a process was last configured with
--   held                       the sum of what all holders have
--   holders                    how many leases there are
--   expires                    when the limit is forgotten
--   number:H, held:H           of the holder H: its last command, and what it has
--   least:H, since:H           of one that waits: what it needs, and since when it waits
--   told                       when the first one that waits was notified

local leases, waiting, state = unpack(KEYS)
local holder, number = ARGV[1], tonumber(ARGV[2])
-- set: 0 if no limit is known, 1 if the configuration has changed, 2 always.
local permits, set, held = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local least, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local lifetime, turn, remember = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

-- All keys are read before one is written: a key of another type fails the command as a whole.
local of_number, of_held, of_least = 'number:' .. holder, 'held:' .. holder, 'least:' .. holder
local stored = redis.call('HMGET', state, 'permits', 'fence', 'arrivals', 'held', 'holders', 'expires',
    'told', 'configured', of_number, of_held, of_least)
local limit, fence, arrivals = tonumber(stored[1]), tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
local sum, holders = tonumber(stored[4]) or 0, tonumber(stored[5]) or 0
local expires, told, configured = tonumber(stored[6]) or 0, tonumber(stored[7]), tonumber(stored[8])
local last, had, listed = tonumber(stored[9]) or 0, tonumber(stored[10]) or 0, stored[11]
local count = redis.call('ZCARD', leases)
local first = redis.call('ZRANGE', waiting, 0, 0)[1]

-- A server that evicts keys may have lost some of the three. The holders state again what they have.
if expires <= now or count ~= holders then
    redis.call('DEL', leases, waiting, state)
    limit, fence, arrivals, sum, holders, expires, told, first = nil, 0, 0, 0, 0, 0, nil, nil
    configured, last, had, listed = nil, 0, 0, nil
end

local function leave(other)
    redis.call('ZREM', waiting, other)
    redis.call('HDEL', state, 'least:' .. other, 'since:' .. other)
    if other == first then
        first, told = redis.call('ZRANGE', waiting, 0, 0)[1], nil
    end
end

local function enter(needs)
    arrivals = arrivals + 1
    redis.call('ZADD', waiting, int(arrivals), holder)
    redis.call('HSET', state, 'least:' .. holder, int(needs), 'since:' .. holder, int(now))
    first = first or holder
end

for _, other in ipairs(redis.call('ZRANGE', leases, '-inf', int(now), 'BYSCORE')) do
    sum = sum - (tonumber(redis.call('HGET', state, 'held:' .. other)) or 0)
    holders = holders - 1
    redis.call('ZREM', leases, other)
    redis.call('HDEL', state, 'number:' .. other, 'held:' .. other)
    leave(other)
    if other == holder then
        last, had, listed = 0, 0, nil
    end
end

local waits = first and redis.call('ZSCORE', waiting, holder)
local granted, ignored = 0, number <= last
if not ignored then
    if set == 2 or (set == 1 and configured ~= permits) or not limit then
        limit = permits
    end
    if set == 1 or not configured then
        configured = permits
    end
    expires = math.max(expires, now + 2 * lifetime, set == 2 and now + remember or 0)
    sum = sum - had + held
    holders = holders + redis.call('ZADD', leases, int(now + lifetime), holder)
    if least == 0 then
        if waits then
            leave(holder)
        end
    elseif waits then
        redis.call('HSET', state, of_least, int(least))
        if first == holder then
            told = nil
        end
    elseif first or limit - sum < least then
        enter(least)
    elseif listed then
        -- The server has evicted those that wait.
        redis.call('HDEL', state, of_least, 'since:' .. holder)
    end
    -- One that was notified and did not ask in its turn is not waited for any longer.
    if least > 0 and first and first ~= holder and told and told + turn <= now then
        leave(first)
    end
    if least > 0 and (not first or first == holder) and limit - sum >= least then
        granted = math.min(most, limit - sum)
        fence, sum, held = fence + granted, sum + granted, held + granted
        if first then
            leave(holder)
        else
            told = nil
        end
        if granted < most then
            enter(1)
        end
    end
end

if first and not told then
    local needs = tonumber(redis.call('HGET', state, 'least:' .. first)) or 1
    if limit - sum >= needs then
        told = now
        local other, process = string.match(first, '^(%d+):(.*)$')
        redis.call('PUBLISH', ARGV[11] .. process, other)
    end
end

-- When the lease of another one ends that has or waits for permits, or its turn.
local again = -1
if not ignored and least > 0 and granted < most then
    local index = 0
    local entry = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
    while entry[1] do
        local other = entry[1]
        if other ~= holder then
            local of = redis.call('HMGET', state, 'held:' .. other, 'least:' .. other)
            if of[2] or (tonumber(of[1]) or 0) > 0 then
                again = tonumber(entry[2]) - now
                break
            end
        end
        index = index + 1
        entry = redis.call('ZRANGE', leases, index, index, 'WITHSCORES')
    end
    if told and first ~= holder then
        local left = math.max(0, told + turn - now)
        again = again < 0 and left or math.min(again, left)
    end
end

local values = { 'permits', int(limit or permits), 'fence', int(fence), 'arrivals', int(arrivals),
    'held', int(sum), 'holders', int(holders), 'expires', int(expires),
    'told', told and int(told) or '', 'configured', int(configured or limit or permits) }
if not ignored then
    for _, value in ipairs({ of_number, int(number), of_held, int(held) }) do
        table.insert(values, value)
    end
end
redis.call('HSET', state, unpack(values))
expire_at(leases, expires)
expire_at(state, expires)
if first then
    expire_at(waiting, expires)
end
return { granted, fence, limit or permits, again }
