"""The texts about the requests at instances that hand over their streams: how many move, and how many stay and why.

Pure.
"""

from collections.abc import Mapping

from svc.rollout.observation import MOVING, RolloutObservation, handover_counts
from svc.rollout.tasks import Step

UNKNOWN_TO_REGISTRY = "all waited for: the registry is older and knows no handover"
# The router's reasons why requests stay -> the text to show; other reasons are shown unchanged.
REASON_TEXTS = {
    "engine": "no other instance continues answers",
    "instance": "no other instance has room",
    "off": "switched off for the model",
    "client_refuses": "refused by the client",
    "failed": "another instance refused to continue",
}


def handover_text(step: Step, observation: RolloutObservation) -> str:
    """Return a text about the requests at a draining instance; "" without a handover, or if nothing is known yet."""
    service = observation.service(step.task.service_name)
    if service is not None and service.get("handover"):
        return counts_text(handover_counts(step.task.service_name, observation))
    # A handover begins after the observation of its round, so only a later observation can show its result.
    is_later = step.handover_since is not None and observation.now > step.handover_since
    return UNKNOWN_TO_REGISTRY if is_later and service is not None else ""


def staying_text(step: Step, observation: RolloutObservation) -> str:
    """Return `handover_text` if an instance hands over, but none of its requests moves; else ""."""
    moving = handover_counts(step.task.service_name, observation)[MOVING]
    return handover_text(step, observation) if step.handover_since is not None and not moving else ""


def counts_text(counts: Mapping[str, int]) -> str:
    """Return the counts as `2 move to other instances, 3 waited for (tool call: 3)`; "" if there are none."""
    moving = counts.get(MOVING, 0)
    staying = {reason: count for reason, count in sorted(counts.items()) if reason != MOVING and count}
    reasons = ", ".join(f"{REASON_TEXTS.get(reason, reason.replace('_', ' '))}: {n}" for reason, n in staying.items())
    moves = f"{moving} move{'s' if moving == 1 else ''} to other instances" if moving else ""
    return ", ".join(filter(None, (moves, f"{sum(staying.values())} waited for ({reasons})" if staying else "")))
