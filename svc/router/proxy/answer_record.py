"""What a stream has passed on: its last chunks as bytes, and everything before them folded into a partial answer.

While all is well, nothing reads the chunks. They are folded if the stream breaks off, and in the worker's sweep once
there are many of them. A fold takes about 2 us for each event.
"""

from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PartialAnswer

FOLD_BYTES = 32 << 10  # size of a record's chunks above which the sweep folds them
MAX_UNFOLDED_BYTES = 48 << 10  # size above which they are folded at once, because the stream is faster than the sweep


class AnswerRecord:
    """The record of one stream. To save a call, `Exchange.passes` appends its chunks of HTTP to `chunks` itself.

    `fold_at`: the number of the response's bytes above which the chunks are folded.
    """

    __slots__ = ("chunks", "fold_at", "partial")

    def __init__(self, dialect: Dialect) -> None:
        self.chunks: list[bytes] = []  # each is one chunk of HTTP: its size, its data and two line ends
        self.fold_at = MAX_UNFOLDED_BYTES
        self.partial = PartialAnswer(dialect)

    def add(self, data: bytes) -> None:
        """Add data that are passed on."""
        self.chunks.append(b"%x\r\n%b\r\n" % (len(data), data))

    def is_long(self, body_bytes: int) -> bool:
        """Return whether the chunks are worth a fold. `body_bytes`: the number of the response's bytes so far."""
        return body_bytes > self.fold_at - MAX_UNFOLDED_BYTES + FOLD_BYTES

    def fold(self, body_bytes: int) -> None:
        """Fold all chunks into the partial answer. `body_bytes`: the number of the response's bytes so far."""
        chunks, self.chunks = self.chunks, []
        self.fold_at = body_bytes + MAX_UNFOLDED_BYTES
        self.partial.feed(b"".join([chunk[chunk.index(b"\n") + 1 : -2] for chunk in chunks]))
