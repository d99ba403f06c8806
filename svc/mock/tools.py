"""The tools in a request to Chat Completions, Responses or Messages, and the tool that the answer must call. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from svc.base.errors import BadRequest
from svc.mock.json_schema import example


class Function(msgspec.Struct):
    """A function that the model may call: in Chat Completions the tool's `function`, in Responses the tool itself."""

    name: str = ""  # Responses' own tools, such as web_search, have no name
    parameters: dict[str, Any] | None = None

    def arguments(self, prompt: str) -> str:
        """Return arguments that the function's schema allows, as JSON; each string in them is the prompt."""
        value = example({"type": "object"} | (self.parameters or {}), prompt)
        return msgspec.json.encode(value).decode()


class ChatTool(msgspec.Struct):
    function: Function = msgspec.field(default_factory=Function)  # empty for tools of other types


class MessagesTool(msgspec.Struct):
    """A tool of Anthropic's Messages."""

    name: str
    input_schema: dict[str, Any] | None = None

    @property
    def function(self) -> Function:
        return Function(self.name, self.input_schema)


class ToolChoice(msgspec.Struct):
    """The field `tool_choice` if it is an object.

    The tool's name is `name` in Messages and Responses, and `function.name` in Chat Completions.
    """

    type: str = "function"
    name: str | None = None
    function: Function | None = None

    @property
    def required(self) -> bool:
        return self.type in ("function", "tool", "any")

    @property
    def function_name(self) -> str | None:
        return self.function.name if self.function else self.name


def required_function(functions: Iterable[Function], choice: str | ToolChoice | None) -> Function | None:
    """Return the function that the answer must call, or None if the model may answer with a text.

    If the answer may call any function (`choice` is `required`, `any`, or an object of the type `any`), return the
    first one. Raise BadRequest if the request's tools do not include the function.
    """
    if isinstance(choice, str | None):
        choice = ToolChoice("any" if choice in ("required", "any") else "auto")
    if not choice.required:
        return None
    name = choice.function_name
    for function in functions:
        if function.name and name in (None, function.name):
            return function
    raise BadRequest(f"cannot call {name or 'a tool'}: it is not among the request's tools", param="tool_choice")
