"""Tool calls that a prompt dictates, in each of the three APIs."""

import json

import pytest

from svc.mock.request_bodies import ChatBody, ConversationBody, MessagesBody, ResponsesBody, parse
from svc.mock.tool_script import ScriptedCall, ToolScript, Turn, tool_script

PROMPT = 'Do this:\n  call read {"file": "a b"}\ncall run {"command": "ls {x}"} \nThank you'
READ, RUN = ScriptedCall("read", '{"file": "a b"}', 1), ScriptedCall("run", '{"command": "ls {x}"}', 2)
NAMES = {"read", "run"}


def test_each_line_is_one_call_made_once_the_results_before_it_are_there():
    assert tool_script([Turn([PROMPT])]).next_call(NAMES) == READ
    assert tool_script([Turn([PROMPT]), Turn(results=["ok"])]).next_call(NAMES) == RUN
    end = tool_script([Turn([PROMPT]), Turn(results=["ok"]), Turn(["a reminder"], ["done"])])
    assert (end.next_call(NAMES), end.last_result) == (None, "done")


def test_a_new_prompt_with_calls_begins_anew_and_one_without_does_not():
    turns = [Turn([PROMPT]), Turn(results=["ok", "done"])]
    assert tool_script([*turns, Turn(["call clock {}"])]) == ToolScript((ScriptedCall("clock", "{}", 1),))
    assert tool_script([*turns, Turn(["Thank you"])]).last_result == "done"


def test_a_tool_that_is_not_offered_is_not_called():
    assert tool_script([Turn([PROMPT])]).next_call({"run"}) is None


@pytest.mark.parametrize("text", ["call", "call read", "call read file", "I call read {}", "call read {} now"])
def test_other_lines_are_no_calls(text):
    assert tool_script([Turn([text])]) == ToolScript()


TOOLS = [{"name": "read", "input_schema": {}}, {"name": "run", "input_schema": {}}]
CHAT = {
    "tools": [{"type": "function", "function": {"name": name}} for name in NAMES],
    "messages": [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": [{"type": "text", "text": "a reminder"}, {"type": "text", "text": PROMPT}]},
        {"role": "assistant", "content": None},
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "done"}]},
    ],
}
MESSAGES = {
    "tools": TOOLS,
    "max_tokens": 5,
    "messages": [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "ok"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "done"}]},
                {"type": "text", "text": "a reminder"},
            ],
        },
    ],
}
RESPONSES = {
    "tools": [{"type": "web_search"}, *({"type": "function", "name": name} for name in NAMES)],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]},
        {"type": "function_call", "call_id": "1", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "ok"},
        {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "done"}]},
    ],
}


@pytest.mark.parametrize(
    ("body_type", "list_field", "fields"),
    [(ChatBody, "messages", CHAT), (MessagesBody, "messages", MESSAGES), (ResponsesBody, "input", RESPONSES)],
)
def test_each_api_makes_the_calls_and_repeats_the_last_result(body_type, list_field, fields):
    def body(length: int):
        return parse(json.dumps({**fields, list_field: fields[list_field][:length]}).encode(), body_type)

    length = len(fields[list_field])
    calls = [body(at).scripted_call() for at in range(length, 0, -1)]
    assert calls[:2] == [None, RUN]
    assert READ in calls
    conversation: ConversationBody = body(length).conversation() if body_type is ResponsesBody else body(length)
    assert conversation.last_user_text() == "done"
