"""One attempt to send a request to an instance, from its start to the single report of its result."""

from typing import TYPE_CHECKING

import msgspec

from svc.router.balance.target import Target
from svc.router.balance.work import AttemptWork
from svc.router.http.request import RequestHead
from svc.router.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from svc.router.state import RouterState

FAULTY_STATUSES = (502, 503, 504)  # the instance is to blame for these; a plain 500 may be the client's fault


class Attempt(msgspec.Struct, gc=False):
    """An attempt in progress. `ejection_reason`: how the instance failed; empty if that does not count for ejection."""

    target: Target
    started: float
    counts_for_budget: bool  # whether the attempt counts for the retry budget
    work: AttemptWork | None = None  # its expected work, if a policy uses it
    failed: bool = False
    ejection_reason: str = ""

    def fail(self, head: RequestHead, reason: str, on_any_path: bool = False) -> None:
        """Mark the attempt as failed. The reason counts for ejection on inference paths, or if `on_any_path` is true.

        A client can make other paths fail at will: llama.cpp answers `/slots?fail_on_no_slot=1` with 503.
        """
        self.failed = True
        self.ejection_reason = reason if on_any_path or head.is_inference else ""

    def report(
        self,
        state: "RouterState",
        head: RequestHead,
        upstream: UpstreamConnection | None,
        interruption: str,
        now: float,
    ) -> None:
        """Report the end of the attempt to the balancer.

        `interruption`: why the exchange was interrupted, empty if it was not; `now`: the time by the state's clock.
        """
        if self.work is not None:
            self.work.end()
        status = upstream.head.status if upstream is not None and upstream.head is not None else 0
        is_inference, failed = head.is_inference, self.failed or status >= 500
        reason: str | None = ""
        answered_500 = False
        if not is_inference or failed or interruption:
            reason = self._final_ejection_reason(is_inference, status, interruption)
            answered_500 = status == 500 and reason == ""
        succeeded = not failed and upstream is not None and upstream.done and 200 <= status < 300
        proves_engine = succeeded and head.method == b"POST"  # a GET does not exercise the engine
        seconds = now - self.started
        state.balancer.end_attempt(
            self.target, seconds, failed, reason, self.counts_for_budget, proves_engine, is_inference, answered_500
        )

    def _final_ejection_reason(self, is_inference: bool, status: int, interruption: str) -> str | None:
        """Return how the instance failed; empty if it worked well, None if the attempt proves nothing."""
        if self.ejection_reason or self.failed:
            return self.ejection_reason or None
        if not is_inference or (interruption and not status):
            return None
        return f"it answered {status}" if status in FAULTY_STATUSES else ""
