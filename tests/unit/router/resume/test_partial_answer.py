import json
from typing import Any

import pytest

from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PIECE_CHARS, PartialAnswer
from tests.unit.router.resume import recorded


def fed(dialect: Dialect, *parts: bytes) -> PartialAnswer:
    partial = PartialAnswer(dialect)
    for part in parts:
        partial.feed(part)
    return partial


def chat(*deltas: Any, **choice: Any) -> bytes:
    events = ({"id": "a", "choices": [{"index": 0, "delta": delta, **choice}]} for delta in deltas)
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def test_a_recorded_chat_is_read():
    partial = fed(Dialect.CHAT, recorded.CHAT)
    assert (partial.id, partial.model, partial.created) == ("chatcmpl-zn9L", "gemma", 1796124025)
    assert (partial.text, partial.finish_reason) == (" The colour of", "length")
    assert (partial.tokens, partial.prompt_tokens, partial.cached_tokens) == (3, 8, 0)
    assert partial.has_start
    assert partial.usage_seen
    assert partial.ended
    assert not partial.obstacle


def test_a_recorded_completion_is_read():
    partial = fed(Dialect.COMPLETIONS, recorded.COMPLETION)
    assert (partial.id, partial.text, partial.finish_reason) == ("chatcmpl-kbkw", " three,", "length")
    assert (partial.tokens, partial.prompt_tokens, partial.ended) == (2, 5, True)


def test_a_recorded_message_is_read():
    partial = fed(Dialect.MESSAGES, recorded.MESSAGE)
    assert (partial.id, partial.model, partial.text) == ("chatcmpl-wqrP", "gemma", " The colour")
    assert (partial.finish_reason, partial.tokens, partial.ended) == ("max_tokens", 2, True)
    assert (partial.block, partial.next_block) == (None, 1)


def test_another_form_at_the_same_path_is_not_understood():
    assert fed(Dialect.COMPLETIONS, recorded.NATIVE).obstacle == "unreadable"
    assert fed(Dialect.CHAT, recorded.MESSAGE).obstacle == "unreadable"
    assert fed(Dialect.MESSAGES, recorded.CHAT).obstacle == "unreadable"


@pytest.mark.parametrize("stream", [recorded.CHAT, recorded.CHAT.replace(b"\n", b"\r\n")])
def test_an_event_counts_once_it_is_whole(stream: bytes):
    second = stream.index(b" The")
    end = stream.index(b"data:", second)
    partial = fed(Dialect.CHAT, stream[:second])
    assert (partial.has_start, partial.text) == (True, "")
    partial.feed(stream[second:end])
    assert partial.text == " The"


def test_the_beginning_of_an_event_that_was_not_passed_on_is_dropped():
    partial = fed(Dialect.CHAT, chat({"content": "a"}) + b'data: {"choices":[{"del')
    partial.drop_unended()
    partial.feed(chat({"content": "b"}))
    assert partial.text == "ab"
    assert not partial.obstacle


def test_tokens_without_text_are_counted_and_roles_are_not():
    partial = fed(Dialect.CHAT, chat({"role": "assistant", "content": ""}, {"content": ""}, {"content": "é"}, {}))
    assert (partial.tokens, partial.size) == (2, 2)
    role_each = fed(Dialect.CHAT, chat({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}))
    assert (role_each.tokens, role_each.text) == (2, "ab")


def test_reasoning_is_kept_apart():
    partial = fed(Dialect.CHAT, chat({"reasoning": "H"}), chat({"reasoning_content": "m"}))
    assert partial.reasoning_open
    assert partial.has_content
    partial.feed(chat({"content": "a"}))
    assert (partial.reasoning, partial.text, partial.tokens, partial.size) == ("Hm", "a", 3, 3)
    assert not partial.reasoning_open


def test_reasoning_after_the_text_has_begun_is_an_obstacle():
    for parts in ([{"content": "a"}, {"reasoning": "Hm"}], [{"content": "a", "reasoning": "H"}, {"reasoning": "m"}]):
        assert fed(Dialect.CHAT, chat(*parts)).obstacle == "reasoning"
        assert fed(Dialect.CHAT, *map(chat, parts)).obstacle == "reasoning"


def test_blocks_of_a_message_come_one_after_the_other():
    begun = recorded.MESSAGE[: recorded.MESSAGE.index(b"event: content_block_stop")]
    second = b'data: {"type":"content_block_start","index":1,"content_block":{"type":"text"}}\n\n'
    stop = b'data: {"type":"content_block_stop","index":0}\n\n'
    partial = fed(Dialect.MESSAGES, begun, stop, second)
    assert (partial.obstacle, partial.block, partial.next_block) == ("", 1, 2)
    assert fed(Dialect.MESSAGES, begun, second).obstacle == "unreadable"
    assert fed(Dialect.MESSAGES, begun, stop, second.replace(b'"index":1', b'"index":2')).obstacle == "unreadable"
    assert fed(Dialect.MESSAGES, begun.replace(b'"index":0,"delta"', b'"index":1,"delta"')).obstacle == "unreadable"


def test_reported_tokens_replace_the_count():
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    event = {"choices": [{"delta": {"content": "b"}}], "usage": usage}
    partial = fed(Dialect.CHAT, chat({"content": "a"}), b"data: %b\n\n" % json.dumps(event).encode())
    assert (partial.tokens, partial.prompt_tokens, partial.usage_seen) == (7, 5, False)
    partial.feed(chat({"content": "c"}))
    assert partial.tokens == 8


def test_the_end_of_an_answer_that_cannot_be_continued_is_noticed():
    partial = fed(Dialect.CHAT, chat({"content": "a"}, {"tool_calls": [{"index": 0}]}, {"content": "b"}))
    assert (partial.obstacle, partial.text, partial.size) == ("tool_call", "", 0)
    partial.feed(chat({}, finish_reason="tool_calls") + b"data: [DONE]\n\n")
    assert (partial.obstacle, partial.finish_reason, partial.ended) == ("tool_call", "tool_calls", True)


def test_an_error_of_the_instance_is_an_obstacle():
    assert fed(Dialect.CHAT, chat({"content": "a"}), b'data: {"error":{"message":"x"}}\n\n').obstacle == "error"
    assert fed(Dialect.MESSAGES, b'data: {"type":"error","error":{}}\n\n').obstacle == "error"


def test_the_data_of_an_event_may_stand_in_several_lines():
    event = b': x\nevent: x\ndata:{"choices":\ndata: [{"delta":\r\ndata: {"content":"a"}}]}\nid: 5\n\n'
    assert fed(Dialect.CHAT, event).text == "a"


def test_half_a_character_waits_for_its_other_half():
    partial = fed(Dialect.CHAT, chat({"content": "\ud83d"}))
    with pytest.raises(ValueError, match="surrogate|truncated|data"):
        _ = partial.text
    partial.feed(chat({"content": "\ude00"}))
    assert partial.text == "\U0001f600"


def test_a_long_text_is_kept_in_long_pieces():
    partial = fed(Dialect.CHAT, *(chat({"content": "word "}) for _ in range(PIECE_CHARS)))
    assert partial.text == "word " * PIECE_CHARS
    assert len(partial._pieces) <= 6
    assert partial.size == 5 * PIECE_CHARS


def test_blank_tokens_at_the_end_are_counted():
    assert fed(Dialect.CHAT, chat({"content": "a\n"}, {"content": " "}, {"content": ""})).blank_tail_tokens() == 2
    assert fed(Dialect.CHAT, chat({"content": " "}), chat({"content": "\n"})).blank_tail_tokens() == 2
    assert fed(Dialect.CHAT).blank_tail_tokens() == 0
