"""What Redis does in one step each, in its Lua: nothing else runs there meanwhile.

Our keys, under one prefix:

services    hash: name -> the registration as JSON, without what stands in the next
heartbeats  hash: name -> Unix seconds of the last one
calm        hash: name -> the status with which a heartbeat changes nothing else, a blank, its owner's digest
drained     set: the names that the operator marked, registered or not
revision    hash: revision; writes, which counts what a copy of `services` and `drained` would miss; event, the last id
changes     channel: each new revision
events      list: the registry's last events, each its id, a blank, and its JSON without it
reports     list: the last events of others, each its id, a blank, its reporter, a blank, and its JSON
told        channel: each new id of an event
"""

from svc.protocol.event import OWN_SOURCE
from svc.registry.store.base import MAX_EVENTS_PER_REPORTER, MAX_OWN_EVENTS, MAX_REPORTED_EVENTS

ANYBODY = "*"  # whose heartbeat the owner does not matter for
KEYS = ("services", "heartbeats", "calm", "drained", "revision", "changes", "events", "told", "reports")

_COMMON = """
local services, heartbeats, calm, drained, index, changes, events, told, reports = unpack(KEYS)

local function found(name)
  return {redis.call('HGET', services, name) or '', redis.call('HGET', heartbeats, name) or '',
          redis.call('SISMEMBER', drained, name)}
end

local function revision()
  return tonumber(redis.call('HGET', index, 'revision') or 0)
end

local function written(raises)
  redis.call('HINCRBY', index, 'writes', 1)
  if raises then
    redis.call('PUBLISH', changes, redis.call('HINCRBY', index, 'revision', 1))
  end
  return revision()
end

local function trim(reporter)
  local held = 0
  local entries = redis.call('LRANGE', reports, 0, -1)
  for at = #entries, 1, -1 do
    if string.match(entries[at], '^%d+ (%S+)') == reporter then
      held = held + 1
      if held > MAX_EVENTS_PER_REPORTER then redis.call('LREM', reports, 1, entries[at]) end
    end
  end
  redis.call('LTRIM', reports, -MAX_REPORTED_EVENTS, -1)
end

local function happened(joined)
  local last, reporters = 0, {}
  for line in string.gmatch(joined, '[^\\n]+') do
    last = redis.call('HINCRBY', index, 'event', 1)
    local reporter, event = string.match(line, '^(%S+) (.*)$')
    if reporter == 'OWN_SOURCE' then
      redis.call('RPUSH', events, last .. ' ' .. event)
    else
      redis.call('RPUSH', reports, last .. ' ' .. line)
      reporters[reporter] = true
    end
  end
  for reporter in pairs(reporters) do trim(reporter) end
  if last > 0 then
    redis.call('LTRIM', events, -MAX_OWN_EVENTS, -1)
    redis.call('PUBLISH', told, last)
  end
  return last
end
"""
for _name, _value in {
    "MAX_EVENTS_PER_REPORTER": MAX_EVENTS_PER_REPORTER,
    "MAX_REPORTED_EVENTS": MAX_REPORTED_EVENTS,
    "MAX_OWN_EVENTS": MAX_OWN_EVENTS,
    "OWN_SOURCE": OWN_SOURCE,
}.items():
    _COMMON = _COMMON.replace(_name, str(_value))

# name -> record, heartbeat, mark
FIND = _COMMON + "return found(ARGV[1])"

# name, the three as they were found; the new record (empty: none), heartbeat, calm status (empty: none), raise?,
# events (each its reporter, a blank and its JSON, one a line)
# -> 1, revision; or 0 and the three as they are now, where they are not what was found
SWAP = (
    _COMMON
    + """
local name, now = ARGV[1], found(ARGV[1])
if now[1] ~= ARGV[2] or now[2] ~= ARGV[3] or tostring(now[3]) ~= ARGV[4] then
  return {0, now[1], now[2], now[3]}
end
local function put(key, value)
  if value == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, value) end
end
put(services, ARGV[5])
put(heartbeats, ARGV[6])
put(calm, ARGV[7])
happened(ARGV[9])
return {1, written(ARGV[8] == '1')}
"""
)

# name, time, status (empty: none), digest of the sender's secret or ANYBODY -> whether that was all there is to it
BEAT = (
    _COMMON
    + """
local status, owner = string.match(redis.call('HGET', calm, ARGV[1]) or '', '^(%S+) ?(%S*)$')
if not status or (ARGV[3] ~= '' and ARGV[3] ~= status) then return 0 end
if owner ~= '' and ARGV[4] ~= owner and ARGV[4] ~= '*' then return 0 end
redis.call('HSET', heartbeats, ARGV[1], ARGV[2])
return 1
"""
)

# name, mark?, event -> record, heartbeat, mark, revision, whether the mark was another;
# nothing for an unknown name, which loses a mark all the same
DRAIN = (
    _COMMON
    + """
local name = ARGV[1]
if redis.call('HEXISTS', services, name) == 0 then
  if ARGV[2] == '0' and redis.call('SREM', drained, name) == 1 then written(false) end
  return false
end
local done = redis.call(ARGV[2] == '1' and 'SADD' or 'SREM', drained, name)
local now = found(name)
now[4] = done == 1 and written(true) or revision()
now[5] = done
if done == 1 then happened(ARGV[3]) end
return now
"""
)

# events (each its reporter, a blank and its JSON, one a line) -> the last one's id
TELL = _COMMON + "return happened(ARGV[1])"

# an id -> the last id, and the events after it, in no order: an id stands in one of two lists
EVENTS = (
    _COMMON
    + """
local last = tonumber(redis.call('HGET', index, 'event') or 0)
local after = tonumber(ARGV[1])
if after == last then return {last} end
if after > last then after = 0 end
local answer = {last}
for _, list in ipairs({events, reports}) do
  for _, entry in ipairs(redis.call('LRANGE', list, after - last, -1)) do
    if tonumber(string.match(entry, '^%d+')) > after then answer[#answer + 1] = entry end
  end
end
return answer
"""
)

# the `writes` of the copy that the asker has -> revision, writes, heartbeats; and services, drained if it is another.
# Joined by newlines, which no name and no JSON of ours holds: a client parses two texts faster than 4,000.
SNAPSHOT = (
    _COMMON
    + """
local writes = redis.call('HGET', index, 'writes') or '0'
local all = {revision(), writes, table.concat(redis.call('HGETALL', heartbeats), '\\n')}
if writes ~= ARGV[1] then
  all[4] = table.concat(redis.call('HGETALL', services), '\\n')
  all[5] = table.concat(redis.call('SMEMBERS', drained), '\\n')
end
return all
"""
)

# try to write? -> revision, Redis's clock, and the last event's id
CHECK = (
    _COMMON
    + """
if ARGV[1] == '1' then redis.call('HSET', index, 'probe', '1') end
local time = redis.call('TIME')
return {revision(), tonumber(time[1]), tonumber(time[2]), tonumber(redis.call('HGET', index, 'event') or 0)}
"""
)
