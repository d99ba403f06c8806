"""A body of known length, whose pieces are joined when the last one has arrived. Pure."""

MAX_BODY_PIECES = 4096  # if there are more, pieces are joined: many small ones take more memory than their content


class SizedBody:
    """The pieces of a body that is still incomplete. `missing`: the number of bytes that have not arrived."""

    __slots__ = ("_pieces", "missing")

    def __init__(self, first: memoryview, missing: int) -> None:
        self._pieces: list[bytes | memoryview] = [first]
        self.missing = missing

    def add(self, data: bytes) -> bytes:
        """Add the body's part of `data`, and return the rest, which belongs to the next request."""
        rest = b""
        if len(data) > self.missing:
            data, rest = data[: self.missing], data[self.missing :]
        pieces = self._pieces
        pieces.append(data)
        self.missing -= len(data)
        if len(pieces) > MAX_BODY_PIECES:
            self._pieces = [b"".join(pieces)]
        return rest

    def join(self) -> bytes:
        return b"".join(self._pieces)
