"""The messages of a conversation, and the texts in them. Pure."""

import msgspec

from svc.mock.tool_script import Turn


class ContentPart(msgspec.Struct):
    type: str
    text: str = ""
    content: "str | list[ContentPart] | None" = None  # content of a tool's result


Content = str | list[ContentPart] | None


def texts_of(content: Content) -> list[str]:
    """Return the texts in the content of a message or of a tool's result."""
    if isinstance(content, list):
        return [part.text for part in content if part.text]
    return [content] if content else []


class ConversationMessage(msgspec.Struct):
    role: str
    content: Content = None

    @property
    def text(self) -> str:
        return " ".join(texts_of(self.content))

    def turn(self) -> Turn:
        """Return the message as a turn of a tool script."""
        if self.role == "tool":
            return Turn(results=[self.text])
        parts = self.content if isinstance(self.content, list) else []
        results = [" ".join(texts_of(part.content)) for part in parts if part.type == "tool_result"]
        return Turn(texts_of(self.content) if self.role == "user" else [], results)
