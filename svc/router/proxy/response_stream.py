"""The event stream of one response: it assembles whole events from the pieces that arrive, and counts their tokens."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from svc.router.http.sse import EVENT_ENDS, OVERLAP_BYTES, last_end
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError
from svc.router.proxy.answer_record import AnswerRecord
from svc.router.proxy.upstream import UpstreamConnection
from svc.router.resume.continued_events import ContinuedEvents
from svc.router.telemetry.request_tokens import NO_TOKENS
from svc.router.telemetry.statistics import USAGE_TAIL_BYTES
from svc.router.telemetry.token_count import RECENT_EVENTS, TokenCounter, is_done, without_start_tokens

if TYPE_CHECKING:
    from svc.router.proxy.stored_objects import ObjectIdReader

MAX_HELD_BYTES = 1 << 20  # limit for an incomplete event; a longer event is passed on in parts


class ResponseStream:
    """One event stream: its incomplete event, its tokens, and how many of its tokens the metrics include."""

    __slots__ = (
        "_counted_tokens",
        "_first_token_counted",
        "_opening",
        "accounted_at",
        "accounted_tokens",
        "first_token_at",
        "held",
        "id_reader",
        "record",
        "rewriter",
        "tokens",
    )

    def __init__(self) -> None:
        self.held: bytes | bytearray = b""  # the beginning of an event, held back until the event is complete
        self.tokens = TokenCounter()
        self.first_token_at = 0.0
        self.id_reader: ObjectIdReader | None = None  # set if the stream may contain the id of a new object
        self.record: AnswerRecord | None = None  # what was passed on; None if the answer is never continued
        self.rewriter: ContinuedEvents | None = None  # set once another instance continues the answer
        self._opening = b""  # the stream's first bytes, up to the first token
        self._counted_tokens = 0  # the number of tokens that are already in the metrics
        self._first_token_counted = False
        self.accounted_tokens, self.accounted_at = NO_TOKENS, 0.0  # what the ledger has counted so far, and when

    def add(self, data: bytes, clock: Callable[[], float]) -> bytes:
        """Count the tokens in data, and record the time of the first token; return the data to pass on.

        Raise UpstreamError if an instance that should continue the answer does something else.
        """
        if self.rewriter is not None:
            data = self._rewritten(self.rewriter.add(data))
        return self._add(data, clock)

    def _rewritten(self, data: bytes) -> bytes:
        assert self.rewriter is not None
        if self.rewriter.failure:
            raise UpstreamError(self.rewriter.failure, AttemptOutcome.BEGUN)
        return data

    def take_unended(self, clock: Callable[[], float]) -> bytes:
        """Return the last event of an instance that continues the answer, if it has no empty line at its end."""
        assert self.rewriter is not None
        return self._add(self._rewritten(self.rewriter.take_rest()), clock)

    def _add(self, data: bytes, clock: Callable[[], float]) -> bytes:
        if not data:
            return data
        tokens = self.tokens
        tokens.add(data)
        if self.record is not None:
            self.record.add(data)
        if not self.first_token_at:
            self._opening = (self._opening + data)[:USAGE_TAIL_BYTES]
            if self.id_reader is not None:
                self.id_reader.feed(data)
            self.first_token_at = clock() if tokens.count else 0.0
        return data

    def whole_events(self, data: bytes, upstream: UpstreamConnection, note_progress: Callable[[int], None]) -> bytes:
        """Return the held bytes and `data`, up to the end of the last whole event, and hold the rest back.

        Read more from `upstream` until there is a whole event, the body ends, or MAX_HELD_BYTES are held.
        `note_progress` is called with the size of each piece that is read.
        """
        held = self.held = bytearray(self.held)
        start = 0
        held += data
        while not upstream.done and len(held) <= MAX_HELD_BYTES:
            if end := last_end(held, start):
                self.held = bytes(held[end:])
                return bytes(held[:end])
            start = max(0, len(held) - OVERLAP_BYTES)
            data = upstream.read()
            note_progress(len(data))
            held += data
        self.held = b""
        return bytes(held)

    def is_complete(self) -> bool:
        """Return whether the last event of the stream has arrived, so that the end of the connection is no failure."""
        return is_done(self.held) or self.tokens.complete()

    def take_rest(self, clock: Callable[[], float]) -> bytes:
        """Count and return the held event. Complete its final empty line, without which clients drop the event."""
        data, self.held = bytes(self.held), b""
        data = self.add(data, clock)
        if self.rewriter is not None:
            data += self.take_unended(clock)
        if not data or data.endswith(EVENT_ENDS):
            return data
        return data + (b"\n" if data.endswith(b"\n") else b"\n\n")

    def new_tokens(self, total: int) -> int:
        """Return how many of the stream's `total` tokens are not yet in the metrics; the caller has to add them."""
        new = max(0, total - self._counted_tokens)
        self._counted_tokens += new
        return new

    def settled_tokens(self) -> int:
        """Return the number of tokens of a running stream, without its last events, which may carry no tokens."""
        return self.tokens.count - RECENT_EVENTS

    def new_first_token_at(self) -> float:
        """Return the time of the first token once, in the first call after it has arrived; 0 in every other call."""
        if self._first_token_counted:
            return 0.0
        self._first_token_counted = bool(self.first_token_at)
        return self.first_token_at

    def usage_excerpt(self) -> bytes:
        """Return the parts of the stream that can have its usage: its end, and for Anthropic's format its beginning."""
        return without_start_tokens(self._opening + b"\n".join(self.tokens.recent)[-USAGE_TAIL_BYTES:])
