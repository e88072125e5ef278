-- Sets how many permits a holder has, and acquires more if it waits for some.
-- KEYS: leases (sorted set, holder -> end of its lease), waiting (sorted set, holder -> arrival),
--       state (hash).
-- ARGV: holder, number, permits, set, held, least, most, lifetime, turn,
--       how long a set limit is remembered, prefix of the channels.
-- Returns: granted, fence, permits, time until to ask again or -1.
--
-- The fields of the state are lists in MessagePack, whose numbers are as in the local variables:
--   limit  permits, configured, fence, arrivals, sum, holders, waiters, expires, ends, told
--   H      of the holder H: its last command, what it has, what it waits for or 0, and since when
--
-- If a permit is free and no holder waits, the leases and the state are read or written three times.

local leases, waiting, state = KEYS[1], KEYS[2], KEYS[3]
local holder, number, given = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- set: 0 if no limit is known, 1 if the configuration has changed, 2 always.
local set, held, least, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local lifetime, turn = tonumber(ARGV[8]), tonumber(ARGV[9])

local stored = redis.call('HMGET', state, 'limit', holder)

-- The limit, and the one that a process was last configured with; -1 if it is not known.
local permits, configured = -1, -1
-- The last fencing number and place, what all holders have, how many leases and waiters there are.
local fence, arrivals, sum, holders, waiters = 0, 0, 0, 0, 0
-- When the limit is forgotten, and a time before which no lease ends.
local expires, ends = 0, 0
-- When the first one that waits was notified, or 0.
local told = 0
if stored[1] then
    permits, configured, fence, arrivals, sum, holders, waiters, expires, ends, told =
        unpack(cmsgpack.unpack(stored[1]))
end
local last, had, needs, since = 0, 0, 0, 0
if stored[2] then
    last, had, needs, since = unpack(cmsgpack.unpack(stored[2]))
end

-- Begins anew. The holders state again what they have.
local function forget()
    -- A key of another type fails the command before anything is written.
    redis.call('ZCARD', leases)
    redis.call('ZCARD', waiting)
    redis.call('DEL', leases, waiting, state)
    permits, configured, arrivals, sum, holders, waiters = -1, -1, 0, 0, 0, 0
    expires, ends, told = 0, 0, 0
    -- Above all numbers that were granted before: these were fewer than one in a microsecond.
    fence = math.max(fence, now)
    last, had, needs, since = 0, 0, 0, 0
end

-- A server that evicts keys may have lost some of the three. Without leases no permit would ever be
-- free.
local is_full = least > 0 and permits - sum + had - held < least
if expires <= now or (is_full and redis.call('ZCARD', leases) ~= holders) then
    forget()
end

local first
if waiters > 0 then
    first = redis.call('ZRANGE', waiting, 0, 0)[1]
    if not first then
        waiters, told = 0, 0
    end
end

-- Returns the field of another holder.
local function read(other)
    local value = redis.call('HGET', state, other)
    return value and cmsgpack.unpack(value) or { 0, 0, 0, 0 }
end

-- Removes a holder from those that wait.
local function leave(other)
    waiters = waiters - redis.call('ZREM', waiting, other)
    if other == holder then
        needs = 0
    end
    if other == first then
        first, told = redis.call('ZRANGE', waiting, 0, 0)[1], 0
    end
end

local function enter(tokens)
    arrivals, needs, since = arrivals + 1, tokens, now
    waiters = waiters + redis.call('ZADD', waiting, int(arrivals), holder)
    expire_at(waiting, expires)
    first = first or holder
end

if ends <= now then
    for _, other in ipairs(redis.call('ZRANGE', leases, '-inf', int(now), 'BYSCORE')) do
        sum, holders = sum - read(other)[2], holders - 1
        redis.call('ZREM', leases, other)
        redis.call('HDEL', state, other)
        leave(other)
        if other == holder then
            last, had = 0, 0
        end
    end
    ends = tonumber(redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2] or now + lifetime)
end

local granted, ignored, extends = 0, number <= last, false
if not ignored then
    local is_new = redis.call('ZADD', leases, int(now + lifetime), holder)
    if is_new == 1 and last > 0 then
        -- The server has evicted the leases.
        forget()
        redis.call('ZADD', leases, int(now + lifetime), holder)
        first = nil
    end
    if set == 2 or (set == 1 and configured ~= given) or permits < 0 then
        permits = given
    end
    if set == 1 or configured < 0 then
        configured = given
    end
    -- Further ahead than needed, so that most commands need not.
    extends = expires < now + 2 * lifetime
    if extends then
        expires = now + 3 * lifetime
    end
    if set == 2 then
        expires, extends = math.max(expires, now + tonumber(ARGV[10])), true
    end
    sum, holders, ends = sum - had + held, holders + is_new, math.min(ends, now + lifetime)
    if needs > 0 and not (first and redis.call('ZSCORE', waiting, holder)) then
        -- The server has evicted those that wait.
        needs = 0
    end

    if least == 0 then
        if needs > 0 then
            leave(holder)
        end
    elseif needs > 0 then
        needs = least
        if first == holder then
            told = 0
        end
    elseif first or permits - sum < least then
        enter(least)
    end
    -- One that was notified and did not ask in its turn is not waited for any longer.
    if least > 0 and first and first ~= holder and told > 0 and told + turn <= now then
        local of = read(first)
        of[3] = 0
        redis.call('HSET', state, first, cmsgpack.pack(of))
        leave(first)
    end
    if least > 0 and (not first or first == holder) and permits - sum >= least then
        granted = math.min(most, permits - sum)
        fence, sum, held = fence + granted, sum + granted, held + granted
        if first then
            leave(holder)
        end
        if granted < most then
            enter(1)
        end
    end

    last, had = number, held
    if extends or is_new == 1 then
        expire_at(leases, expires)
    end
    if extends then
        expire_at(waiting, expires)
    end
end

if first and told == 0 then
    local awaited = first == holder and needs or read(first)[3]
    if permits - sum >= math.max(awaited, 1) then
        told = now
        local other, process = string.match(first, '^(%d+):(.*)$')
        redis.call('PUBLISH', ARGV[11] .. process, other)
    end
end

-- When the lease of another one ends that has or waits for permits, or its turn.
local again = -1
if not ignored and least > 0 and granted < most then
    -- There may be thousands that have nothing: then this one looks again when the 16th ends.
    local entries = redis.call('ZRANGE', leases, 0, 15, 'WITHSCORES')
    for index = 1, #entries, 2 do
        local of = entries[index] ~= holder and read(entries[index])
        if index == 31 or (of and (of[2] > 0 or of[3] > 0)) then
            again = tonumber(entries[index + 1]) - now
            break
        end
    end
    if told > 0 and first ~= holder then
        local left = math.max(0, told + turn - now)
        again = again < 0 and left or math.min(again, left)
    end
end

redis.call('HSET', state, 'limit', cmsgpack.pack({ permits, configured, fence, arrivals, sum, holders,
    waiters, expires, ends, told }), holder, cmsgpack.pack({ last, had, needs, since }))
if extends then
    expire_at(state, expires)
end
return { granted, fence, permits, again }
