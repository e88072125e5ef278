-- Takes tokens of a bucket, by the generic cell rate algorithm for each of its quotas.
-- KEYS: the bucket.
-- ARGV: set (0 if no quota is known, 1 if the configuration has changed, 2 always), least, most,
--       max_wait, horizon, how long set quotas are remembered, charge (1 if the tokens were used
--       already), then for each quota: interval, burst.
-- Returns: taken, wait, receipt, then as a list for each quota: interval, burst.

local bucket = KEYS[1]
local set, least, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local max_wait, horizon, remember = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local charge = ARGV[7] == '1' and least > 0
local given = table.concat(ARGV, ' ', 8)

-- Returns the full bucket of the quotas that are given.
local function full()
    local state = { 0, given }
    for index = 8, #ARGV, 2 do
        local length = #state
        state[length + 1], state[length + 2] = tonumber(ARGV[index]), tonumber(ARGV[index + 1])
        state[length + 3] = 0
    end
    return state
end

local state, changed = read_bucket(bucket), false
if not state then
    state = full()
else
    local replaces = set == 2
    if set == 1 and state[2] ~= given then
        state[2], changed, replaces = given, true, true
    end
    if replaces then
        local new = full()
        new[1], new[2] = state[1], state[2]
        for index = 3, #new, 3 do
            -- Tokens that are missing stay missing, up to the new burst. Exact up to 1 microsecond.
            local old, interval, burst = state[index], new[index], new[index + 1]
            local missing = math.max(0, (state[index + 2] or 0) - now)
            if missing > 0 then
                local whole = math.floor(missing / old)
                local rest = math.floor((missing - whole * old) * interval / old)
                missing = math.min(whole * interval + rest, burst * interval)
            end
            new[index + 2] = now + missing
        end
        state = new
    end
end
if set == 2 then
    state[1] = now + remember
    changed = true
end

-- How long until a number of tokens is available by all quotas, up to the largest exact number.
local function wait(tokens)
    local longest = 0
    for index = 3, #state, 3 do
        local interval, burst = state[index], state[index + 1]
        local debt = math.max(0, state[index + 2] - now)
        longest = math.max(longest, debt + interval * (tokens - burst))
    end
    return math.min(longest, 2 ^ 53 - 1)
end

local quotas, available = {}, least > 0
for index = 3, #state, 3 do
    local length = #quotas
    quotas[length + 1], quotas[length + 2] = state[index], state[index + 1]
    available = available and least <= state[index + 1]
end

local taken, delay = 0, wait(least)
if charge then
    -- The debt is at most a full bucket, or what it was before.
    for index = 3, #state, 3 do
        local interval, burst, arrival = state[index], state[index + 1], state[index + 2]
        local charged = math.max(arrival, now) + interval * least
        state[index + 2] = math.max(arrival, math.min(charged, now + 2 * interval * burst))
    end
    taken, delay, changed = least, wait(0), true
elseif available and delay <= max_wait then
    -- With several quotas, it is not known when more tokens will be available.
    local ahead = #quotas == 2 and horizon or 0
    -- All quotas count the tokens from when they are available.
    local start = now + delay
    if most > least then
        taken = most
        for index = 3, #state, 3 do
            local interval, burst = state[index], state[index + 1]
            local debt = math.max(0, state[index + 2] - now)
            taken = math.min(taken, math.floor((ahead + interval * burst - debt) / interval))
        end
    end
    taken = math.max(least, taken)
    if taken > least then
        delay = wait(taken)
    end
    for index = 3, #state, 3 do
        state[index + 2] = math.max(state[index + 2], start) + state[index] * taken
    end
    changed = true
end

if changed then
    write_bucket(bucket, state)
end
return { taken, delay, state[5], quotas }
