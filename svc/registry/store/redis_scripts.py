"""The Lua scripts that the registry runs in Redis; Redis runs each as one atomic step.

The keys, under one prefix:

services    hash: name -> the service as JSON, without the fields last_heartbeat, drained and handover
heartbeats  hash: name -> Unix seconds of the last heartbeat
calm        hash: name -> the status with which a heartbeat only renews the lease, a space, the digest of the owner
drained     set: the names that the operator has drained, registered or not
handovers   set: those of them whose streams routers move; what is not in `drained` as well does not count
revision    hash: revision; writes, which counts the changes to services and their drains; event, the last event's id
changes     channel: each new revision
events      list: the last events of the registry itself; each entry is the id, a space, and the JSON without the id
reports     list: the last events from other reporters; each entry is the id, a space, the reporter, a space, the JSON
audit       list: the last events with an actor; each entry is as in `reports`, with the actor as the reporter
told        channel: the id of each new event
reached     hash: a registry's id -> Unix seconds until which this counts, and the names that its health checks reach,
            each on a line
loads       hash: name -> Unix seconds of the report, a space, the load as JSON; removed when the owner changes
"""

from svc.protocol.event import ACTOR_PREFIX, REGISTRY_SOURCE
from svc.registry.store import contract

ANY_OWNER = "*"  # stands for the digest of an operator's request, which is accepted for a service of any owner
KEYS = (
    "services",
    "heartbeats",
    "calm",
    "drained",
    "revision",
    "changes",
    "events",
    "told",
    "reports",
    "reached",
    "loads",
    "audit",
    "handovers",
)

_COMMON = """
local services, heartbeats, calm, drained, index, changes, events, told, reports, reached, loads, audit, handovers =
  unpack(KEYS)

local function mark_of(name)
  local mark = redis.call('SISMEMBER', drained, name)
  return mark + mark * redis.call('SISMEMBER', handovers, name)
end

local function record_of(name)
  return {redis.call('HGET', services, name) or '', redis.call('HGET', heartbeats, name) or '', mark_of(name)}
end

local function revision()
  return tonumber(redis.call('HGET', index, 'revision') or 0)
end

local function count_write(raises_revision)
  redis.call('HINCRBY', index, 'writes', 1)
  if raises_revision then
    redis.call('PUBLISH', changes, redis.call('HINCRBY', index, 'revision', 1))
  end
  return revision()
end

local function trim(list, reporter, most, most_in_all)
  local kept = 0
  local entries = redis.call('LRANGE', list, 0, -1)
  for at = #entries, 1, -1 do
    if string.match(entries[at], '^%d+ (%S+)') == reporter then
      kept = kept + 1
      if kept > most then redis.call('LREM', list, 1, entries[at]) end
    end
  end
  redis.call('LTRIM', list, -most_in_all, -1)
end

local function trim_audit(actor)
  trim(audit, actor, MAX_AUDIT_EVENTS_PER_ACTOR, MAX_AUDIT_EVENTS)
  local oldest = redis.call('TIME')[1] - AUDIT_RETENTION_SECONDS
  local function is_past(entry) return entry and tonumber(string.match(entry, '"time":([^,}]+)')) < oldest end
  while is_past(redis.call('LINDEX', audit, 0)) do redis.call('LPOP', audit) end
end

local function add_events(joined)
  local last, reporters, actors = 0, {}, {}
  for line in string.gmatch(joined, '[^\\n]+') do
    last = redis.call('HINCRBY', index, 'event', 1)
    local reporter, event = string.match(line, '^(%S+) (.*)$')
    if string.sub(reporter, 1, #'ACTOR_PREFIX') == 'ACTOR_PREFIX' then
      redis.call('RPUSH', audit, last .. ' ' .. line)
      actors[reporter] = true
    elseif reporter == 'REGISTRY_SOURCE' then
      redis.call('RPUSH', events, last .. ' ' .. event)
    else
      redis.call('RPUSH', reports, last .. ' ' .. line)
      reporters[reporter] = true
    end
  end
  for reporter in pairs(reporters) do trim(reports, reporter, MAX_EVENTS_PER_REPORTER, MAX_REPORTED_EVENTS) end
  for actor in pairs(actors) do trim_audit(actor) end
  if last > 0 then
    redis.call('LTRIM', events, -MAX_OWN_EVENTS, -1)
    redis.call('PUBLISH', told, last)
  end
  return last
end
"""
LIMITS = (  # replaced in this order, so a name must stand before its own prefixes
    "MAX_AUDIT_EVENTS_PER_ACTOR",
    "MAX_AUDIT_EVENTS",
    "AUDIT_RETENTION_SECONDS",
    "MAX_EVENTS_PER_REPORTER",
    "MAX_REPORTED_EVENTS",
    "MAX_OWN_EVENTS",
)
_COMMON = _COMMON.replace("ACTOR_PREFIX", ACTOR_PREFIX).replace("REGISTRY_SOURCE", REGISTRY_SOURCE)
for _name in LIMITS:
    _COMMON = _COMMON.replace(_name, str(getattr(contract, _name)))

# Argument: name. Result: the record (service, heartbeat, mark: 1 if it is drained, 2 if with a handover).
FIND = _COMMON + "return record_of(ARGV[1])"

# Arguments: name and its record; the new service (empty: remove it), heartbeat, entry of `calm` (empty: none), 1 to
# raise the revision, and events (one line each: reporter, space, JSON).
# Result: 1 and the revision; or 0 and the current record, if the current record differs from the given one.
SWAP = (
    _COMMON
    + """
local name, now = ARGV[1], record_of(ARGV[1])
if now[1] ~= ARGV[2] or now[2] ~= ARGV[3] or tostring(now[3]) ~= ARGV[4] then
  return {0, now[1], now[2], now[3]}
end
local function put(key, value)
  if value == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, value) end
end
local function owner_in(entry) return string.match(entry or '', '^%S+ ?(%S*)$') end
local loses_load = ARGV[5] == '' or owner_in(redis.call('HGET', calm, name) or '') ~= owner_in(ARGV[7])
put(services, ARGV[5])  -- the first write: Redis refuses a script for lack of memory only before it has written
put(heartbeats, ARGV[6])
put(calm, ARGV[7])
if loses_load then redis.call('HDEL', loads, name) end
add_events(ARGV[9])
return {1, count_write(ARGV[8] == '1')}
"""
)

# Arguments: time; for each heartbeat name, status (empty: none), and digest of the sender's secret or ANY_OWNER.
# Result: for each heartbeat 1 if its lease was renewed. 0 if nothing was done: lease.after_heartbeat then decides.
RENEW = (
    _COMMON
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
    _COMMON
    + """
local function put(name, sender, load)
  local owner = string.match(redis.call('HGET', calm, name) or '', '^%S+ ?(%S*)$')
  if not owner or (owner ~= '' and sender ~= owner and sender ~= '*') then return 0 end
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
LOADS = (
    _COMMON
    + """
local entries, kept, oldest = redis.call('HGETALL', loads), {}, tonumber(ARGV[1])
for at = 1, #entries, 2 do
  if tonumber(string.match(entries[at + 1], '^%S+')) < oldest then
    redis.call('HDEL', loads, entries[at])
  else
    kept[#kept + 1] = entries[at]
    kept[#kept + 1] = entries[at + 1]
  end
end
return table.concat(kept, '\\n')
"""
)

# Arguments: name, its new mark (1: drained; 2: with a handover; 0 ends the drain), event.
# Result: the record, the revision, and 1 if this changed anything, else 0. For a name that is not registered, the
# result is nil, and its drain is ended all the same.
DRAIN = (
    _COMMON
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
ADD_EVENTS = _COMMON + "return add_events(ARGV[1])"

# Arguments: an id, and 1 for the audit only. Result: the last id, and the events after the given id, unsorted, because
# they come from several lists.
EVENTS = (
    _COMMON
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
    _COMMON
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

# Arguments: a registry's id, seconds for which the names count, and the names, joined by newlines. Result: nil.
SHARE_REACHED = (
    _COMMON
    + """
redis.call('HSET', reached, ARGV[1], (redis.call('TIME')[1] + ARGV[2]) .. '\\n' .. ARGV[3])
return false
"""
)

# Argument: a registry's id. Result: the names that other registries reach, joined by newlines. A registry that has not
# shared its names for too long has ended, so its entry is removed.
REACHED_BY_OTHERS = (
    _COMMON
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
    _COMMON
    + """
if ARGV[1] == '1' then redis.call('HSET', index, 'probe', '1') end
local time = redis.call('TIME')
return {revision(), tonumber(time[1]), tonumber(time[2]), tonumber(redis.call('HGET', index, 'event') or 0)}
"""
)
