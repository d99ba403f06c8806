"""The keys that the registry uses in Redis, and the Lua functions on them that its scripts share.

The keys, under one prefix:

services    hash: name -> the service as JSON, without the fields last_heartbeat, drained and handover
heartbeats  hash: name -> Unix seconds of the last heartbeat
calm        hash: name -> the status with which a heartbeat only renews the lease, a space, the digest of the owner
drained     set: the names that the operator has drained, registered or not
handovers   set: the drained names whose streams routers move; a name counts only while it is in `drained`, too
revision    hash: revision; writes, which counts the changes to services and their drains; event, the last event's id
changes     channel: each new revision
events      list: the last events of the registry itself; each entry is the id, a space, and the JSON without the id
reports     list: the last events from other reporters; each entry is the id, a space, the reporter, a space, the JSON
audit       list: the last events with an actor; each entry is as in `reports`, with the actor as the reporter
told        channel: the id of each new event
reached     hash: a registry's id -> Unix seconds until which this counts, and the names that its health checks reach,
            each on a line
loads       hash: name -> Unix seconds of the report, a space, the load as JSON; removed when the owner changes
gpus        hash: name -> as in `loads`, with a report about the GPUs of a host
"""

from svc.protocol.event import ACTOR_PREFIX, REGISTRY_SOURCE
from svc.registry.store import contract

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
    "gpus",
)

COMMON = """
local services, heartbeats, calm, drained, index, changes, events, told, reports, reached, loads, audit, handovers,
  gpus = unpack(KEYS)

local function may_report(name, sender)
  local owner = string.match(redis.call('HGET', calm, name) or '', '^%S+ ?(%S*)$')
  return owner and (owner == '' or sender == owner or sender == '*')
end

local function current_reports(key, oldest)
  local entries, kept = redis.call('HGETALL', key), {}
  for at = 1, #entries, 2 do
    if tonumber(string.match(entries[at + 1], '^%S+')) < oldest then
      redis.call('HDEL', key, entries[at])
    else
      kept[#kept + 1] = entries[at]
      kept[#kept + 1] = entries[at + 1]
    end
  end
  return kept
end

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
LIMITS = (  # names in COMMON, replaced in this order: a name must come before any other with which it begins
    "MAX_AUDIT_EVENTS_PER_ACTOR",
    "MAX_AUDIT_EVENTS",
    "AUDIT_RETENTION_SECONDS",
    "MAX_EVENTS_PER_REPORTER",
    "MAX_REPORTED_EVENTS",
    "MAX_OWN_EVENTS",
)
COMMON = COMMON.replace("ACTOR_PREFIX", ACTOR_PREFIX).replace("REGISTRY_SOURCE", REGISTRY_SOURCE)
for _name in LIMITS:
    COMMON = COMMON.replace(_name, str(getattr(contract, _name)))
