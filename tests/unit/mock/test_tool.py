"""Which tool is called, and with what."""

import json

import pytest

from svc.base.errors import BadRequest
from svc.mock.tool import Forced, Function, Named, Schema, Tool, arguments, forced

TEXTS = Schema({"city": {"type": "string"}, "days": {"type": "integer"}})
WEATHER, CLOCK = Function("weather", TEXTS), Function("clock")
TOOLS = [Tool(WEATHER), Tool(CLOCK)]


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_nothing_is_called_that_is_not_forced(choice):
    assert forced(TOOLS, choice) is None


def test_the_named_one_is_called_or_the_first():
    assert forced(TOOLS, Forced(Named("clock"))) is CLOCK
    assert forced(TOOLS, "required") is WEATHER


@pytest.mark.parametrize(("tools", "choice"), [(TOOLS, Forced(Named("sun"))), ([], "required")])
def test_a_tool_that_is_not_there_cannot_be_called(tools, choice):
    with pytest.raises(BadRequest, match="not among the request's tools"):
        forced(tools, choice)


def test_texts_are_filled_in_and_nothing_else():
    assert json.loads(arguments(WEATHER, 'in "Bergen"')) == {"city": 'in "Bergen"'}
    assert arguments(CLOCK, "now") == "{}"
