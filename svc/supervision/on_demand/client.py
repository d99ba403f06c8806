"""A client of the extension's methods about instances on demand."""

from typing import Any
from xmlrpc.client import Fault

import msgspec

from svc.base.errors import CommandError
from svc.supervision.on_demand.facts import Facts, Offer, Order
from svc.supervision.xmlrpc_channel import UNKNOWN_METHOD, XmlRpcChannel

TIMEOUT_SECONDS = 10.0


class OnDemandClient:
    """A client of the supervisord at `url` ("unix:///path/supervisor.sock"). Threads and greenlets may share a client.

    Names are those of programs ("qwen:server"). Methods raise Unavailable if supervisord does not answer or is
    shutting down, and CommandError if it refuses or if an older svc runs in it.
    """

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._channel = XmlRpcChannel(url, timeout_seconds)

    def report(self, name: str, facts: Facts) -> Order:
        """Report the facts about an instance and return the order for its babysitter."""
        return msgspec.json.decode(self._call("svc.onDemand", name, msgspec.json.encode(facts).decode()), type=Order)

    def put_to_sleep(self, name: str) -> bool:
        """Stop an instance that has an order `release`, and from which nothing is in flight; return at once.

        Return False if the order is void by now, because no instance waits for the place any more or a request is in
        flight. A program with `sleep = "vllm"` is not stopped: True means that its engine may be put to sleep now.
        """
        return bool(self._call("svc.putToSleep", name))

    def offer(self, name: str) -> Offer:
        """Return what it would cost to wake an instance; nothing changes."""
        return msgspec.json.decode(self._call("svc.getOffer", name), type=Offer)

    def state(self) -> dict[str, Any]:
        """Return what is reserved on each GPU, and what each instance waits for: see `Arbiter.state`."""
        return msgspec.json.decode(self._call("svc.getOnDemand"))

    def _call(self, method: str, *params: Any) -> Any:
        try:
            return self._channel.call(method, *params)
        except Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                raise CommandError(
                    f"{self.url}: this supervisord lacks [rpcinterface:svc], or an older svc started it; "
                    "start it anew with `svc down` and `svc up`"
                ) from None
            raise self._channel.error_of(fault, params[0] if params else "") from None
