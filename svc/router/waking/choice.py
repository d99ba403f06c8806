"""Chooses the instances that are woken, from what their babysitters offer. Pure.

Two routers that have the same offers choose the same instances, so that one model is not woken twice.
"""

from collections.abc import Iterable, Mapping

from svc.protocol.service import ASLEEP
from svc.router.waking.answers import WakeOffer

MUCH_SOONER_SECONDS = 10.0  # by how much sooner an instance must be ready to replace one that was chosen before
BEGUN = ("starting", "running")  # statuses of an instance that another router, or an operator, has had woken


def cost(name: str, offer: WakeOffer) -> tuple[bool, bool, bool, float, float, str]:
    """Return the key by which offers are sorted: the smallest is the best.

    These criteria count, in this order: the wake is possible now; the instance is being woken already; no other
    instance has to give way; the least time, including the time in which victims load again; the victims idle longest.
    """
    return not offer.possible, offer.status not in BEGUN, not offer.now, offer.seconds, -offer.idle_seconds, name


def choose(offers: Mapping[str, WakeOffer], kept: Iterable[str], number: int) -> tuple[str, ...]:
    """Return the names of the `number` instances to wake, fewer if fewer are possible now or later.

    `kept`: those that were chosen before. They stay chosen, unless one waits for others to give way and another could
    be woken at once, or much sooner.
    """
    possible = {name: offer for name, offer in offers.items() if offer.possible or offer.later}
    kept = [name for name in kept if name in possible]
    order = sorted(possible, key=lambda name: cost(name, possible[name]))
    chosen = [*kept, *[name for name in order if name not in kept]][:number]
    for position, name in enumerate(chosen):
        if possible[name].now or possible[name].status != ASLEEP:
            continue
        better = (other for other in order if other not in chosen and possible[other].possible)
        free = next((other for other in better if _is_better(possible[other], possible[name])), None)
        if free is not None:
            chosen[position] = free
    return tuple(chosen)


def _is_better(other: WakeOffer, kept: WakeOffer) -> bool:
    """Return whether another instance replaces one that was chosen, but is still asleep."""
    return other.now or not kept.possible or other.seconds < kept.seconds - MUCH_SOONER_SECONDS


def why_impossible(offers: Mapping[str, WakeOffer]) -> str:
    """Return why none of these offers is possible, not even later; empty if one is."""
    if not offers or any(offer.possible or offer.later for offer in offers.values()):
        return ""
    return "; ".join(dict.fromkeys(offer.reason or f"{name} cannot be woken" for name, offer in sorted(offers.items())))
