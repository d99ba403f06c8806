"""A client of the extension's methods about instances on demand."""

from typing import Any

import msgspec

from svc.supervision.on_demand.instance_facts import InstanceFacts, Offer, Order
from svc.supervision.xmlrpc_channel import XmlRpcChannel

TIMEOUT_SECONDS = 10.0


class OnDemandClient:
    """A client of the supervisord at `url` ("unix:///path/supervisor.sock"). Threads and greenlets may share a client.

    Names are those of programs ("qwen:server"). Methods raise Unavailable if supervisord does not answer or is
    shutting down, and CommandError if it refuses or if an older svc runs in it.
    """

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._channel = XmlRpcChannel(url, timeout_seconds)

    def report(self, name: str, facts: InstanceFacts) -> Order:
        """Report the facts about an instance and return the order for its babysitter."""
        text = msgspec.json.encode(facts).decode()
        return msgspec.json.decode(self._channel.call_extension("svc.onDemand", name, text, about=name), type=Order)

    def put_to_sleep(self, name: str) -> bool:
        """Stop an instance that has the order `release` and no requests in flight; return at once.

        Return False if the order has ended, for example because no other instance needs the memory any more, or if a
        request is in flight. A program with `sleep = "vllm"` is not stopped: for it, True means that the caller may put
        its engine to sleep.
        """
        return bool(self._channel.call_extension("svc.putToSleep", name, about=name))

    def offer(self, name: str) -> Offer:
        """Return what it would cost to wake an instance, without waking it."""
        return msgspec.json.decode(self._channel.call_extension("svc.getOffer", name, about=name), type=Offer)

    def state(self) -> dict[str, Any]:
        """Return what instances hold on each GPU, and the state of each instance: see `Arbiter.state`."""
        return msgspec.json.decode(self._channel.call_extension("svc.getOnDemand"))
