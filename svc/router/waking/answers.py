"""What a babysitter answers about waking its instance. Pure.

A registration may name any server as its babysitter, so its answers are checked before they are used.
"""

from typing import Annotated

import msgspec

from svc.client.wake import MAX_ANSWER_BYTES
from svc.protocol.event import one_line
from svc.protocol.instance_names import instance_name
from svc.router.balance.target import MAX_REASON_CHARS

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class WakeOffer(msgspec.Struct, frozen=True):
    """What it would cost to wake an instance. Its victims are the instances that have to give way; `now`: it has none.

    `seconds` estimates the time until the instance is ready, plus the time in which its victims load again later.
    Each victim has been idle for `idle_seconds` or longer. `name` and `status` are those of the instance to wake.
    """

    possible: bool
    now: bool = False
    seconds: Seconds = 0.0
    idle_seconds: Seconds = 0.0
    reason: str = ""
    name: str = ""
    status: str = ""
    later: bool = False  # whether a wake that is not possible now may become possible by itself


class Acceptance(msgspec.Struct, frozen=True):
    """The answer to a demand: the instance's status, and why it is not awake yet."""

    status: str = ""
    reason: str = ""
    wake_timeout: Seconds | None = None
    load_seconds: Seconds | None = None


_decode_offer = msgspec.json.Decoder(WakeOffer).decode
_decode_acceptance = msgspec.json.Decoder(Acceptance).decode


def read_offer(status: int, body: bytes, name: str) -> WakeOffer | None:
    """Return the offer in a babysitter's answer; None if there is none. `name`: the registered name of its instance."""
    if status != 200 or len(body) > MAX_ANSWER_BYTES:
        return None
    try:
        offer = _decode_offer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if offer.name not in ("", name, instance_name(name)):  # another babysitter has this port by now
        return None
    return msgspec.structs.replace(offer, reason=shown(offer.reason), status=shown(offer.status))


def read_acceptance(status: int, body: bytes) -> Acceptance | None:
    """Return a babysitter's answer to a demand that it has accepted; None if it has not accepted the demand."""
    if status not in (200, 202) or len(body) > MAX_ANSWER_BYTES:
        return None
    try:
        acceptance = _decode_acceptance(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.structs.replace(acceptance, reason=shown(acceptance.reason), status=shown(acceptance.status))


def shown(text: str) -> str:
    """Return a babysitter's text as one short line, as errors and events show it."""
    return one_line(text[: 4 * MAX_REASON_CHARS])[:MAX_REASON_CHARS]
