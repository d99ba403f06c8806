"""The babysitters of instances on demand: asks them for offers, sends them demands, and checks what they answer."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from svc.base.ca_certificates import system_ca
from svc.base.dial import AddressRefused
from svc.base.errors import message_of
from svc.base.parallel import run_parallel
from svc.client import wake
from svc.perimeter.networks import AllowedNetworks
from svc.router.balance.target import Target
from svc.router.waking.answers import Acceptance, WakeOffer, read_acceptance, read_offer, shown

SILENT = "its babysitter does not answer"
NO_KEY = "its babysitter wants the API key of the instance; name it in the router's upstream_keys_file"

Send = Callable[..., tuple[int, bytes]]
AddressedDemand = tuple[Target, dict[str, Any]]  # an instance, and the fields of the demand


class Refusal(msgspec.Struct, frozen=True):
    """Why a babysitter has not accepted a demand. `status`: that of its answer, 0 if there was none."""

    status: int
    reason: str


class Babysitters:
    """Sends requests to babysitters. The API key of an instance goes to its own host only."""

    def __init__(self, upstream_ca: str = "") -> None:
        self._verify = upstream_ca or system_ca() or True
        self._networks = AllowedNetworks()

    def offers(self, targets: Iterable[Target]) -> dict[str, WakeOffer | None]:
        """Ask for offers in parallel; return that of each instance, None if its babysitter sends no valid one."""
        answers = self._send_all({target.name: partial(self._send, wake.ask, target) for target in targets})
        return {name: read_offer(*answer, name) for name, answer in answers.items()}

    def demand(self, demands: Iterable[AddressedDemand]) -> dict[str, Acceptance | Refusal]:
        """Send the demands in parallel, and return what the babysitter of each instance answers."""
        calls = {target.name: partial(self._send, wake.demand, target, fields) for target, fields in demands}
        return {name: _acceptance(*answer) for name, answer in self._send_all(calls).items()}

    def put_to_sleep(self, target: Target, fields: dict[str, Any]) -> Acceptance | Refusal:
        """Ask the babysitter of an instance to put it to sleep, and return the answer."""
        calls = {target.name: partial(self._send, wake.put_to_sleep, target, fields)}
        return _acceptance(*self._send_all(calls)[target.name])

    def _send_all(self, calls: Mapping[str, Callable[[], tuple[int, bytes]]]) -> dict[str, tuple[int, bytes]]:
        """Return the status and the body of each answer; (0, b"") for a call that fails or takes too long."""
        results = run_parallel(calls, 2 * wake.TIMEOUT_SECONDS)  # one timeout to connect, and one for the answer
        return {name: (0, b"") if isinstance(result, Exception) else result for name, result in results.items()}

    def _send(self, send: Send, target: Target, *content: dict[str, Any]) -> tuple[int, bytes]:
        url = target.babysitter_url
        if url is None:
            return 0, b""
        try:
            return send(url, target.key_for_host(url), self._verify, self._networks.rejection_reason, *content)
        except AddressRefused as error:
            return 0, msgspec.json.encode({"error": f"the router does not connect to {url}: {error}"})


def _acceptance(status: int, body: bytes) -> Acceptance | Refusal:
    acceptance = read_acceptance(status, body)
    if acceptance is not None:
        return acceptance
    if status in (401, 403):
        return Refusal(status, NO_KEY)
    reason = ""
    if len(body) <= wake.MAX_ANSWER_BYTES:
        try:
            reason = shown(message_of(msgspec.json.decode(body))) if body else ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            reason = ""
    return Refusal(status, reason or (f"its babysitter answers {status}" if status else SILENT))
