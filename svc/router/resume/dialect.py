"""The forms of API in which an answer can be continued. Pure."""

from enum import Enum

from svc.protocol.service import CONTINUES, CONTINUES_MESSAGES


class Dialect(Enum):
    """The form of the requests and events at a path."""

    CHAT = "OpenAI's chat completions"
    COMPLETIONS = "OpenAI's completions"
    MESSAGES = "Anthropic's messages"

    @property
    def proof(self) -> str:
        """The key in the metadata of an instance whose engine is proven to continue answers of this form."""
        return CONTINUES_MESSAGES if self is Dialect.MESSAGES else CONTINUES


_PATHS = {
    b"/v1/chat/completions": Dialect.CHAT,
    b"/chat/completions": Dialect.CHAT,
    b"/v1/completions": Dialect.COMPLETIONS,
    b"/completions": Dialect.COMPLETIONS,
    b"/v1/messages": Dialect.MESSAGES,
    b"/messages": Dialect.MESSAGES,
}


def dialect_of(uri: bytes) -> Dialect | None:
    """Return the form of a URI's requests; None if answers at this path cannot be continued."""
    return _PATHS.get(uri.partition(b"?")[0])
