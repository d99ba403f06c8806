"""What it would cost to wake an instance, for the routers that choose among several hosts. Pure."""

from svc.supervision.on_demand.host import Host, Instance
from svc.supervision.on_demand.instance_facts import Offer
from svc.supervision.on_demand.memory import Room
from svc.supervision.on_demand.placement import Placer
from svc.supervision.on_demand.plan import candidates, depends_on_old_reading
from svc.supervision.on_demand.record import MIN_PAUSE_SECONDS
from svc.supervision.on_demand.victims import Timing, stay_seconds

# A wake is not called impossible because of an older reading. While requests wait, a candidate has readings made more
# often than this, so that a wake can be called impossible.
READING_VALID_SECONDS = 15.0


def make_offer(host: Host, name: str) -> Offer:
    """Return the offer for an instance, which loads after the candidates that have been waited for longer."""
    instance = host.instances[name]
    if not instance.program.on_demand:
        return Offer(False, reason="it does not run on demand")
    if instance.phase == "awake":
        return Offer(True, True, reason="it is awake")
    ready_in = _seconds_until_one_may_load(host)
    if instance.phase == "loading":
        return Offer(True, True, seconds=_remaining_load(instance), reason="it loads")
    if instance.pause_seconds > 0:
        reason = f"{instance.failure}; another try in {instance.pause_seconds:.0f} s"
        return Offer(False, reason=reason, later=instance.pause_seconds <= MIN_PAUSE_SECONDS)
    room = Room(host)
    for earlier in candidates(host):
        if earlier.name == name or earlier.waited_seconds < instance.waited_seconds:
            continue
        place = Placer(host, room, earlier).place()
        for victim in place.victims:
            room.remove(victim)
        room.add(earlier, place.gpus)
        ready_in += earlier.load_seconds
    place = Placer(host, room, instance).place()
    if place.timing == Timing.NEVER:
        is_known = host.measured and not depends_on_old_reading(host, place, READING_VALID_SECONDS)
        if instance.facts and instance.facts.has_tool and not is_known:
            return Offer(True, False, seconds=ready_in + instance.load_seconds, reason="reads the memory of the GPUs")
        return Offer(False, reason=place.reason, later=_may_fit_later(host, instance))
    victims = [victim for victim in place.victims if victim.phase != "stopping"]
    seconds = ready_in + instance.load_seconds
    seconds += sum(_reload_cost(v) + _seconds_until_free(v, instance, host.stay_factor) for v in victims)
    return Offer(
        True,
        not victims,
        tuple(victim.name for victim in victims),
        round(seconds, 3),
        min((v.idle_seconds for v in victims if not v.queue), default=0.0),
        place.reason,
    )


def _may_fit_later(host: Host, instance: Instance) -> bool:
    """Return whether the instance would fit if all instances on demand without `keep` were asleep.

    This may happen without an operator.
    """
    room = Room(host)
    for other in host.instances.values():
        if other.program.on_demand and not other.program.keep:
            room.remove(other)
    return Placer(host, room, instance).place().timing < Timing.NEVER


def _seconds_until_one_may_load(host: Host) -> float:
    """Return the seconds until the number of loading instances is below `parallel_loads`."""
    loading = sorted(_remaining_load(i) for i in host.instances.values() if i.phase == "loading")
    return loading[-host.parallel_loads] if len(loading) >= host.parallel_loads else 0.0


def _seconds_until_free(victim: Instance, candidate: Instance, stay_factor: float) -> float:
    """Return the seconds for which a victim stays because it loads, woke a short time ago, or was just used."""
    if victim.phase == "loading":
        return _remaining_load(victim) + victim.program.min_awake
    is_leaving = victim.releasing_for == candidate.name
    rest = 0.0 if is_leaving else stay_seconds(victim, candidate, stay_factor)
    return max(rest, victim.program.min_awake - victim.phase_seconds)


def _reload_cost(victim: Instance) -> float:
    """Return the seconds for loading a victim again; fewer if it has long been idle, because it may not be needed."""
    return victim.load_seconds**2 / (victim.load_seconds + victim.idle_seconds) if victim.load_seconds else 0.0


def _remaining_load(instance: Instance) -> float:
    return max(0.0, instance.load_seconds - instance.phase_seconds)
