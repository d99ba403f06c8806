"""Removes from a continuation the white space that the client already has. Pure."""


class LeftOutText:
    """The white space at the end of a text that was left out of the request for its continuation.

    The instance usually generates it again. Characters are removed from the start of the continuation as long as they
    are the same; from the first that differs on, all pass.
    """

    __slots__ = ("_rest",)

    def __init__(self, text: str) -> None:
        self._rest = text

    def remove(self, text: str) -> str:
        """Return the next piece of the continuation without what the client has."""
        if not self._rest:
            return text
        size = next((n for n, pair in enumerate(zip(text, self._rest, strict=False)) if pair[0] != pair[1]), None)
        if size is not None:
            self._rest = ""
            return text[size:]
        size = min(len(text), len(self._rest))
        self._rest = self._rest[size:]
        return text[size:]
