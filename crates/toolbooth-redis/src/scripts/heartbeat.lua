-- Reports that a process is alive. A lifetime of 0 removes it.
-- KEYS: processes (sorted set, process -> until when it counts).
-- ARGV: process, lifetime.
-- Returns: how many processes are alive.

local processes, process, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2])

redis.call('ZADD', processes, int(now + lifetime), process)
redis.call('ZREMRANGEBYSCORE', processes, '-inf', int(now))
local last = redis.call('ZRANGE', processes, -1, -1, 'WITHSCORES')
if last[2] then
    expire_at(processes, tonumber(last[2]))
end
return redis.call('ZCARD', processes)
