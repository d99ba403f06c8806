"""Tools: which one a request makes the model call, and with what. Pure."""

from typing import Annotated, Any

import msgspec

from svc.base.errors import BadRequest


class Schema(msgspec.Struct):
    """As much of JSON Schema as a call is made from."""

    properties: dict[str, dict[str, Any]] = {}


class Function(msgspec.Struct):
    name: str
    parameters: Schema = msgspec.field(default_factory=Schema)


class Tool(msgspec.Struct):
    function: Function


class Named(msgspec.Struct):
    name: str


class Forced(msgspec.Struct):
    function: Named


Tools = Annotated[list[Tool], msgspec.Meta(max_length=128)]


def forced(tools: list[Tool], choice: str | Forced | None) -> Function | None:
    """The function that must be called; None where the model may decide, and it decides to talk."""
    if isinstance(choice, str | None) and choice != "required":
        return None
    name = choice.function.name if isinstance(choice, Forced) else None
    for tool in tools:
        if name in (None, tool.function.name):
            return tool.function
    raise BadRequest(f"cannot call {name or 'a tool'}: it is not among the request's tools", param="tool_choice")


def arguments(function: Function, heard: str) -> str:
    """As JSON: every property that takes a text gets what was asked."""
    texts = {name: heard for name, kind in function.parameters.properties.items() if kind.get("type") == "string"}
    return msgspec.json.encode(texts).decode()
