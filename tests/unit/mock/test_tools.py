"""The function that a request requires."""

import json

import pytest

from svc.base.errors import BadRequest
from svc.mock.request_bodies import ChatBody, MessagesBody, ResponsesBody, parse
from svc.mock.tools import Function, ToolChoice, required_function

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
WEATHER, CLOCK = Function("weather", SCHEMA), Function("clock")
FUNCTIONS = [Function(), WEATHER, CLOCK]  # a tool without a name is one that Responses' servers run themselves


@pytest.mark.parametrize("choice", [None, "auto", "none", ToolChoice("auto"), ToolChoice("none")])
def test_no_function_is_called_unless_it_is_required(choice):
    assert required_function(FUNCTIONS, choice) is None


@pytest.mark.parametrize("choice", ["required", "any", ToolChoice("any")])
def test_the_first_function_is_called_if_the_request_names_none(choice):
    assert required_function(FUNCTIONS, choice) is WEATHER


@pytest.mark.parametrize(("functions", "choice"), [(FUNCTIONS, ToolChoice(name="sun")), ([], "required")])
def test_a_function_that_the_tools_lack_cannot_be_called(functions, choice):
    with pytest.raises(BadRequest, match="not among the request's tools"):
        required_function(functions, choice)


CLOCK_IN_CHAT = {"type": "function", "function": {"name": "clock"}}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}, CLOCK_IN_CHAT]
MESSAGES_TOOLS = [{"name": "weather", "input_schema": SCHEMA}, {"name": "clock", "input_schema": {"type": "object"}}]
RESPONSES_TOOLS = [
    {"type": "web_search"},
    {"type": "function", "name": "weather", "parameters": SCHEMA},
    {"type": "function", "name": "clock"},
]


@pytest.mark.parametrize(
    ("body_type", "tools", "any_tool", "clock"),
    [
        (ChatBody, CHAT_TOOLS, "required", CLOCK_IN_CHAT),
        (MessagesBody, MESSAGES_TOOLS, {"type": "any"}, {"type": "tool", "name": "clock"}),
        (ResponsesBody, RESPONSES_TOOLS, "required", {"type": "function", "name": "clock"}),
    ],
)
def test_each_api_has_its_own_format_of_tools_and_choices(body_type, tools, any_tool, clock):
    def function_of(choice):
        fields = {"messages": [{"role": "user"}], "max_tokens": 9, "input": "hi", "tools": tools, "tool_choice": choice}
        return parse(json.dumps(fields).encode(), body_type).required_function()

    assert function_of(any_tool).parameters == SCHEMA
    assert function_of(clock).name == "clock"
    assert function_of(None) is None


def test_the_arguments_follow_the_function_s_schema():
    assert json.loads(WEATHER.arguments('in "Bergen"')) == {"city": 'in "Bergen"', "days": 0}
    assert CLOCK.arguments("now") == "{}"
