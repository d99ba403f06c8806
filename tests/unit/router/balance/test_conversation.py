import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from svc.router.balance.conversation import BLOCK_ENDS, block_hashes, conversation_of, prefix_bytes
from svc.router.balance.prefix_map import PrefixMap
from svc.router.balance.routing_request import RoutingRequest, parse
from svc.router.http.json_body import LARGE_JSON_BYTES
from tests.unit.router.examples import request

SYSTEM = {"role": "system", "content": "You are a helpful assistant. " * 200}
TOOLS = [
    {"type": "function", "function": {"name": f"tool_{n}", "description": "It does this. " * 20}} for n in range(9)
]
LONG = 'A long document, "quoted" and with \\ backslashes, in one string. ' * 1500
messages = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=2000)}), min_size=1)


def read(uri: bytes = b"/v1/chat/completions", **fields: Any) -> RoutingRequest:
    return parse(request(json.dumps({"model": "m", **fields}).encode(), uri=uri))


def hashes(**fields: Any) -> list[int]:
    return block_hashes(conversation_of(read(**fields)))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def shared(first: list[int], second: list[int]) -> int:
    """The number of blocks with which both begin."""
    return next(
        (n for n, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(second)),
    )


@given(messages, messages)
def test_the_blocks_of_a_conversation_are_the_first_of_its_next_turn(turn: list[Any], more: list[Any]):
    before, after = hashes(messages=turn), hashes(messages=[*turn, *more])
    assert after[: len(before)] == before


@given(messages, messages, messages)
def test_conversations_share_the_blocks_of_their_common_prefix(common: list[Any], one: list[Any], other: list[Any]):
    first, second = read(messages=common + one), read(messages=common + other)
    texts = bytes(conversation_of(first)), bytes(conversation_of(second))
    length = next((n for n, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), min(map(len, texts)))
    count = shared(*(block_hashes(conversation_of(request)) for request in (first, second)))
    assert prefix_bytes(count) <= length
    assert count == len([end for end in BLOCK_ENDS if end <= length])


@pytest.mark.parametrize("size", [600, 5000, 30_000, 100_000, 1_000_000])
def test_at_most_a_fifth_of_a_common_prefix_is_not_recognized(size: int):
    beginning = "x" * size
    count = shared(hashes(prompt=beginning + "a" * 600_000), hashes(prompt=beginning + "b" * 600_000))
    assert size - prefix_bytes(count) <= max(512, size / 5)


def test_a_megabyte_has_few_blocks():
    assert len(hashes(prompt="x" * (1 << 20))) == 40
    assert len(hashes(prompt="x" * 4096)) == 8


def test_tools_and_system_prompt_come_before_the_messages():
    turns = [hashes(messages=[user(text * 300)], tools=TOOLS) for text in ("one ", "two ")]
    assert shared(*turns) >= 4
    other = hashes(messages=[user("one " * 300)], tools=TOOLS[1:])
    assert shared(turns[0], other) == 0
    system = [hashes(messages=[user(text * 300)], system=SYSTEM["content"]) for text in ("one ", "two ")]
    assert shared(*system) >= 8


def test_the_order_of_the_fields_does_not_matter():
    fields = {"messages": [user("hello " * 300)], "tools": TOOLS, "system": "s" * 2000, "temperature": 0.3}
    assert hashes(**fields) == hashes(**dict(reversed(fields.items()))) != []
    assert hashes(**fields) == hashes(**{**fields, "temperature": 0.9, "stream": True})


def test_instructions_and_input_of_responses_are_a_conversation():
    turn = [user("first " * 200)]
    before = hashes(instructions="i" * 3000, input=turn, tools=TOOLS)
    after = hashes(instructions="i" * 3000, input=[*turn, user("second " * 200)], tools=TOOLS)
    assert shared(before, after) == len(before) > 8


def test_the_input_of_an_embedding_is_no_conversation():
    for texts in ("x" * 2000, ["x" * 2000, "y" * 2000], [1] * 2000):
        assert hashes(input=texts) == []


def test_a_prompt_is_a_conversation():
    assert shared(hashes(prompt="x" * 2000), hashes(prompt="x" * 2000 + "y" * 2000)) == 3


@pytest.mark.parametrize("content", [LONG, "x" * 200_000, "x" * 5000])
def test_long_strings_that_reading_skips_are_part_of_the_conversation(content: str):
    """Bodies from LARGE_JSON_BYTES on are read without their long strings."""
    conversations = [
        [user(content + tail), user("short"), user(tail * 3)]
        for tail in ("a" * LARGE_JSON_BYTES, "b" * LARGE_JSON_BYTES)
    ]
    for turn in conversations:
        text = json.dumps(turn).encode()[:-1]
        assert bytes(conversation_of(read(messages=turn))) == text
        assert bytes(conversation_of(read(tools=TOOLS, system=content, messages=turn))) == (
            json.dumps(TOOLS).encode() + json.dumps(content).encode() + text
        )
    first, second = (hashes(messages=turn) for turn in conversations)
    assert 0 < shared(first, second) < len(first)


def test_a_body_that_was_rewritten_or_is_read_leniently_has_the_same_conversation():
    turn = [user("hello " * 2000)]
    expected = hashes(messages=turn)
    body = json.dumps({"model": "m", "messages": turn}).encode()
    assert block_hashes(conversation_of(RoutingRequest("alias", body=body))) == expected
    for lenient in (body.replace(b'"m"', b'"m", "top_p": NaN'), body.decode().encode("utf-16"), b"\xef\xbb\xbf" + body):
        assert block_hashes(conversation_of(parse(request(lenient)))) == expected


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[]", b"7", b'{"messages": 7}', b'{"input": null}'])
def test_a_body_without_a_conversation_has_no_blocks(body: bytes):
    assert block_hashes(conversation_of(RoutingRequest("m", body=body))) == []


def test_a_conversation_with_another_seed_is_another_one():
    conversation = conversation_of(read(messages=[SYSTEM]))
    assert not set(block_hashes(conversation, 1)) & set(block_hashes(conversation, 2))


@pytest.mark.parametrize(("size", "most"), [(4 << 10, 8), (100 << 10, 26), (1 << 20, 40), (64 << 20, 64)])
def test_the_work_grows_with_the_blocks_and_not_with_the_bytes(monkeypatch: pytest.MonkeyPatch, size: int, most: int):
    """Each block is hashed once, by one call, and no byte twice; nothing else reads the conversation."""
    hashed: list[int] = []

    def digest(block: memoryview, seed: int) -> int:
        hashed.append(block.nbytes)
        return xxh3_64_intdigest(block, seed)

    monkeypatch.setattr("svc.router.balance.conversation.xxh3_64_intdigest", digest)
    assert len(block_hashes(memoryview(bytes(size)))) == len(hashed) == most
    assert sum(hashed) <= size


def test_a_search_looks_at_few_blocks():
    class Counted(dict[int, int]):
        searches = 0

        def get(self, key: int, default: Any = None) -> Any:
            self.searches += 1
            return super().get(key, default)

    prefixes, hashes = PrefixMap(1 << 20), list(range(44))
    prefixes.add(hashes[:5], "a")
    generations = prefixes._young, prefixes._old = Counted(prefixes._young), Counted()  # noqa: SLF001
    assert prefixes.find(hashes) == [(5, 1)]
    assert max(generation.searches for generation in generations) <= 6  # of 44
    prefixes._young.searches = 0  # noqa: SLF001
    prefixes.add(hashes, "a")
    assert prefixes._young.searches == 39 + 1, "only what is new, and one that is known"  # noqa: SLF001
