"""Joins the text of a continuation to the text that the client has. Pure."""

import msgspec


class TextEnd(msgspec.Struct, frozen=True):
    """The properties of the text's end at the client that matter for a continuation.

    `left_out`: the white space at the end that the request for the continuation does not contain.
    `tail`: the last characters, in which one of the request's `stops` may have begun. `keeps_stop`: whether the answer
    contains the stop text that ends it.
    """

    left_out: str = ""
    tail: str = ""
    stops: tuple[str, ...] = ()
    keeps_stop: bool = False


def text_end(text: str, left_out: str, stops: tuple[str, ...], keeps_stop: bool) -> TextEnd:
    """Return the end of a text. If the text does not end with the beginning of a stop, `tail` and `stops` are empty."""
    size = max(map(len, stops), default=0) - 1
    tail = text[-size:] if size > 0 else ""
    begun = tuple(stop for stop in stops if any(tail.endswith(stop[:end]) for end in range(1, len(stop))))
    return TextEnd(left_out, tail, begun, keeps_stop) if begun else TextEnd(left_out)


class TextJoin:
    """Joins a continuation to the client's text: drops repeated white space, and ends at a stop that began before it.

    The instance usually generates again the white space that was left out, so equal characters are removed from the
    beginning. It cannot notice a stop text whose beginning the client has already, so the join notices it.
    """

    __slots__ = ("_left_out", "_new", "_text_end", "stop")

    def __init__(self, text_end: TextEnd) -> None:
        self.stop = ""  # the stop text at which the answer has ended; later text is dropped
        self._text_end: TextEnd | None = text_end if text_end.stops else None
        self._left_out = text_end.left_out
        self._new = ""

    def add(self, text: str) -> str:
        """Return the part of the next piece that the client gets."""
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
        """Return the piece, or only its part up to the end of a stop that began in the client's text.

        If the answer does not keep the stop, that part is empty.
        """
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
