"""The Lua scripts that the registry runs in Redis; Redis runs each as one atomic step. `redis_keys` has the keys."""

from svc.registry.store import contract
from svc.registry.store.redis_keys import COMMON

ANY_OWNER = "*"  # stands for the digest of an operator's request, which is accepted for a service of any owner

# Argument: name. Result: the record (service, heartbeat, mark: 1 if it is drained, 2 if with a handover).
FIND = COMMON + "return record_of(ARGV[1])"

# Arguments: name; its record, as the caller knows it; the new service (empty: remove it), its heartbeat, and its entry
# of `calm` (empty: none); 1 to raise the revision; events (one line each: reporter, space, JSON).
# Result: 1 and the revision; or 0 and the current record, if this differs from the given one.
SWAP = (
    COMMON
    + """
local name, now = ARGV[1], record_of(ARGV[1])
if now[1] ~= ARGV[2] or now[2] ~= ARGV[3] or tostring(now[3]) ~= ARGV[4] then
  return {0, now[1], now[2], now[3]}
end
local function put(key, value)
  if value == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, value) end
end
local function owner_in(entry) return string.match(entry or '', '^%S+ ?(%S*)$') end
local loses_reports = ARGV[5] == '' or owner_in(redis.call('HGET', calm, name) or '') ~= owner_in(ARGV[7])
put(services, ARGV[5])  -- the first write: Redis refuses a script for lack of memory only before it has written
put(heartbeats, ARGV[6])
put(calm, ARGV[7])
if loses_reports then
  redis.call('HDEL', loads, name)
  redis.call('HDEL', gpus, name)
end
add_events(ARGV[9])
return {1, count_write(ARGV[8] == '1')}
"""
)

# Arguments: time; for each heartbeat name, status (empty: none), and digest of the sender's secret or ANY_OWNER.
# Result: for each heartbeat 1 if its lease was renewed. 0 if nothing was done: lease.after_heartbeat then decides.
RENEW = (
    COMMON
    + """
local function renews(name, sent_status, sender)
  local status, owner = string.match(redis.call('HGET', calm, name) or '', '^(%S+) ?(%S*)$')
  if not status or (sent_status ~= '' and sent_status ~= status) then return 0 end
  if owner ~= '' and sender ~= owner and sender ~= '*' then return 0 end
  redis.call('HSET', heartbeats, name, ARGV[1])
  return 1
end
local results = {}
for at = 2, #ARGV, 3 do
  results[#results + 1] = renews(ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return results
"""
)

# Arguments: time; for each report name, digest of the sender's secret or ANY_OWNER, and the load as JSON.
# Result: for each report 1 if the load is stored, or 0 if nothing was done, as in RENEW.
PUT_LOADS = (
    COMMON
    + """
local function put(name, sender, load)
  if not may_report(name, sender) then return 0 end
  redis.call('HSET', loads, name, ARGV[1] .. ' ' .. load)
  return 1
end
local results = {}
for at = 2, #ARGV, 3 do
  results[#results + 1] = put(ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return results
"""
)

# Argument: a time; loads that were reported before are removed. Result: the other names and loads, joined by newlines.
LOADS = COMMON + "return table.concat(current_reports(loads, tonumber(ARGV[1])), '\\n')"

# Arguments: time; name, digest of the sender's secret or ANY_OWNER, and the report as JSON; the maximum number of
# reports, and the time before which a report is too old. Result: 1 if the report is stored, else 0.
PUT_GPUS = (
    COMMON
    + """
local name = ARGV[2]
if not may_report(name, ARGV[3]) then return 0 end
if redis.call('HEXISTS', gpus, name) == 0 and redis.call('HLEN', gpus) >= tonumber(ARGV[5]) then
  if #current_reports(gpus, tonumber(ARGV[6])) / 2 >= tonumber(ARGV[5]) then return 0 end
end
redis.call('HSET', gpus, name, ARGV[1] .. ' ' .. ARGV[4])
return 1
"""
)

# Argument: a time; reports that arrived before are removed. Result: as in LOADS.
GPUS = COMMON + "return table.concat(current_reports(gpus, tonumber(ARGV[1])), '\\n')"

# Arguments: name, its new mark (1: drained; 2: with a handover; 0 ends the drain), event.
# Result: the record, the revision, and 1 if this changed anything, else 0. For a name that is not registered, the
# result is nil, and its drain is ended all the same.
DRAIN = (
    COMMON
    + """
local name = ARGV[1]
if redis.call('HEXISTS', services, name) == 0 then
  if ARGV[2] == '0' and redis.call('SREM', drained, name) == 1 then count_write(false) end
  return false
end
local before = mark_of(name)
redis.call(ARGV[2] == '0' and 'SREM' or 'SADD', drained, name)
redis.call(ARGV[2] == '2' and 'SADD' or 'SREM', handovers, name)
local now = record_of(name)
local changed = now[3] ~= before
now[4] = changed and count_write(true) or revision()
now[5] = changed and 1 or 0
if changed then add_events(ARGV[3]) end
return now
"""
)

# Argument: events (one line each: reporter, space, JSON). Result: the id of the last one.
ADD_EVENTS = COMMON + "return add_events(ARGV[1])"

# Arguments: an id, and 1 for the audit only. Result: the last id, and the events after the given id, unsorted, because
# they come from several lists.
EVENTS = (
    COMMON
    + """
local last = tonumber(redis.call('HGET', index, 'event') or 0)
local after = tonumber(ARGV[1])
if after == last then return {last} end
if after > last then after = 0 end
local answer = {last}
local function add(list, most)
  for _, entry in ipairs(redis.call('LRANGE', list, -math.min(last - after, most), -1)) do
    if tonumber(string.match(entry, '^%d+')) > after then answer[#answer + 1] = entry end
  end
end
if ARGV[2] == '1' then
  add(audit, last)
else
  add(events, last)
  add(reports, last)
  add(audit, MAX_RECENT_AUDIT_EVENTS)
end
return answer
""".replace("MAX_RECENT_AUDIT_EVENTS", str(contract.MAX_RECENT_AUDIT_EVENTS))
)

# Argument: the `writes` of the caller's snapshot. Result: revision, writes, heartbeats; also services, drained and
# handovers, if `writes` differs. All but the first two are each one string, joined by newlines, because a client parses
# one long string faster than thousands of short ones. No name and no JSON here contains a newline.
SNAPSHOT = (
    COMMON
    + """
local writes = redis.call('HGET', index, 'writes') or '0'
local all = {revision(), writes, table.concat(redis.call('HGETALL', heartbeats), '\\n')}
if writes ~= ARGV[1] then
  all[4] = table.concat(redis.call('HGETALL', services), '\\n')
  all[5] = table.concat(redis.call('SMEMBERS', drained), '\\n')
  all[6] = table.concat(redis.call('SMEMBERS', handovers), '\\n')
end
return all
"""
)

# Arguments: a registry's id; for how many seconds its report is valid; the names of the services that its health
# checks reach, joined by newlines. Result: nil.
SHARE_REACHED = (
    COMMON
    + """
redis.call('HSET', reached, ARGV[1], (redis.call('TIME')[1] + ARGV[2]) .. '\\n' .. ARGV[3])
return false
"""
)

# Argument: a registry's id. Result: the names that other registries reach, joined by newlines. A registry that has not
# shared its names for too long has ended, so its entry is removed.
REACHED_BY_OTHERS = (
    COMMON
    + """
local now, names = tonumber(redis.call('TIME')[1]), {}
local entries = redis.call('HGETALL', reached)
for at = 1, #entries, 2 do
  local last, joined = string.match(entries[at + 1], '^(%S+)\\n(.*)$')
  if tonumber(last) < now then
    redis.call('HDEL', reached, entries[at])
  elseif entries[at] ~= ARGV[1] and joined ~= '' then
    names[#names + 1] = joined
  end
end
return table.concat(names, '\\n')
"""
)

# Argument: 1 to try a write. Result: revision, seconds and microseconds of Redis's clock, the last event's id.
CHECK = (
    COMMON
    + """
if ARGV[1] == '1' then redis.call('HSET', index, 'probe', '1') end
local time = redis.call('TIME')
return {revision(), tonumber(time[1]), tonumber(time[2]), tonumber(redis.call('HGET', index, 'event') or 0)}
"""
)
