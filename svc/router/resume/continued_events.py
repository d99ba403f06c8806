"""Rewrites the events of an instance that continues an answer, so that the client notices nothing. Pure.

    events = ContinuedEvents(partial, request)   # `partial` as it is now, `request` from `continuation`
    events.add(data)                             # returns the bytes to pass on; `data` may be cut anywhere
    events.take_rest()                           # the same once the instance has ended its answer
    events.failure                               # not empty: the instance does not continue the answer
    events.stopped                               # the answer has ended, unnoticed by the instance

The events get the answer's id, model and time. A second role or beginning of a message is dropped, and the usage
becomes that of the whole answer. After a failure, no more events pass, and the router ends the stream with an error
event. After the answer's last event, such as `[DONE]`, nothing passes and nothing fails any more. `stopped` becomes
true at the end of a stop text whose beginning the client had already, so that the instance cannot notice it. Then no
more text passes, and the router leaves the instance and takes the last events from `ending`.
"""

from svc.router.http.sse import last_end, split
from svc.router.resume.continuation import Continuation
from svc.router.resume.continued_completion import ContinuedCompletion
from svc.router.resume.continued_message import ContinuedMessage
from svc.router.resume.dialect import Dialect
from svc.router.resume.event_formats import payload
from svc.router.resume.partial_answer import PartialAnswer

MAX_EVENT_BYTES = 1 << 20  # limit for one event: it is kept in memory until it is whole


class ContinuedEvents:
    """The stream of an instance that continues an answer."""

    __slots__ = ("_form", "_unended")

    def __init__(self, partial: PartialAnswer, request: Continuation) -> None:
        form = ContinuedMessage if partial.dialect is Dialect.MESSAGES else ContinuedCompletion
        self._form: ContinuedCompletion | ContinuedMessage = form(partial, request)
        self._unended = b""

    @property
    def failure(self) -> str:
        """Why the instance does not continue the answer, as text for a log; empty as long as it does."""
        return self._form.failure

    @property
    def stopped(self) -> bool:
        """Whether the answer has ended at a stop text that the instance does not notice."""
        return bool(self._form.stop)

    def add(self, data: bytes) -> bytes:
        """Rewrite the next bytes of the stream; return the bytes to pass on, which are whole events or none."""
        data = self._unended + data
        end = last_end(data)
        self._unended = data[end:]
        events = self._rewritten(data[:end])
        if self._form.failure or self._form.ended:
            self._unended = b""
        elif len(self._unended) > MAX_EVENT_BYTES:
            self._form.failure, self._unended = "one of its events is too long", b""
        return events

    def take_rest(self) -> bytes:
        """Return the rewritten last event, even without its empty line. Set `failure` if the answer is not finished."""
        data, self._unended = self._unended, b""
        events = self._rewritten(data)
        if not (self._form.failure or self._form.finish_reason or self._form.ended):
            self._form.failure = "it ends its answer without a reason to finish"
        return events

    def _rewritten(self, data: bytes) -> bytes:
        events: list[bytes] = []
        for event in split(data):
            if self._form.failure or self._form.ended:
                break
            if text := payload(event):
                self._form.rewrite(text, events)
            elif event.strip():
                events.append(event.strip() + b"\n\n")  # a comment, which keeps the connection alive
        return b"".join(events)
