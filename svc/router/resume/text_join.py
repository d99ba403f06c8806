"""Joins the text of a continuation to the text that the client has. Pure."""

import msgspec


class TextEnd(msgspec.Struct, frozen=True):
    """The end of the text that the client has, as far as it matters for the continuation.

    `left_out`: the white space at the end that the request for the continuation does not contain.
    `tail`: the last characters, in which one of the request's `stops` may have begun. `keeps_stop`: whether the answer
    contains the stop text that ends it.
    """

    left_out: str = ""
    tail: str = ""
    stops: tuple[str, ...] = ()
    keeps_stop: bool = False


def text_end(text: str, left_out: str, stops: tuple[str, ...], keeps_stop: bool) -> TextEnd:
    """Return the end of a text; without tail and stops if it ends with no part of a stop."""
    size = max(map(len, stops), default=0) - 1
    tail = text[-size:] if size > 0 else ""
    begun = tuple(stop for stop in stops if any(tail.endswith(stop[:end]) for end in range(1, len(stop))))
    return TextEnd(left_out, tail, begun, keeps_stop) if begun else TextEnd(left_out)


class TextJoin:
    """Removes from the pieces of a continuation what the client has, and ends it at a stop that began before it.

    The instance usually generates again the white space that was left out: characters are removed from the start as
    long as they are the same. And it cannot notice a stop text of which the client has the beginning.
    """

    __slots__ = ("_left_out", "_new", "_text_end", "stop")

    def __init__(self, text_end: TextEnd) -> None:
        self.stop = ""  # the stop text that ends the answer; nothing more belongs to it
        self._text_end: TextEnd | None = text_end if text_end.stops else None
        self._left_out = text_end.left_out
        self._new = ""

    def add(self, text: str) -> str:
        """Return what the client gets of the next piece."""
        if self.stop:
            return ""
        if self._left_out:
            text = self._without_left_out(text)
        return text if self._text_end is None else self._until_stop(text, self._text_end)

    def _without_left_out(self, text: str) -> str:
        pairs = zip(text, self._left_out, strict=False)
        differs_at = next((n for n, (new, old) in enumerate(pairs) if new != old), None)
        size = min(len(text), len(self._left_out)) if differs_at is None else differs_at
        self._left_out = self._left_out[size:] if differs_at is None else ""
        return text[size:]

    def _until_stop(self, text: str, text_end: TextEnd) -> str:
        """Return the piece up to the end of a stop that begins in the text before it."""
        tail, passed = len(text_end.tail), len(self._new)
        self._new += text
        joined = text_end.tail + self._new
        ends = [
            (at + len(stop), stop)
            for stop in text_end.stops
            if 0 <= (at := joined.find(stop, max(0, tail - len(stop) + 1))) < tail
        ]
        if ends:
            end, self.stop = min(ends)
            return self._new[passed : end - tail] if text_end.keeps_stop else ""
        if len(self._new) >= max(map(len, text_end.stops)):
            self._text_end = None
        return text
