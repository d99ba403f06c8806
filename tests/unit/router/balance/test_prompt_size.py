import base64
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.prompt_size import exceeds, text_bytes

IMAGE = "data:image/png;base64," + base64.b64encode(bytes(90_000)).decode()
TEXT = '你好，世界 \n"hello" \\ é 😀'
texts = st.text(st.characters(exclude_categories=["Cs"]))
parts = st.fixed_dictionaries({}, optional={"type": texts, "text": texts, "content": texts, "image_url": texts})
messages = st.lists(
    st.fixed_dictionaries({"role": texts}, optional={"content": texts | st.lists(parts) | st.none(), "name": texts})
)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields}, ensure_ascii=False).encode()


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def original_size(messages: list[dict[str, Any]]) -> int:
    """The size as the original router counts it (rust/src/proxy/handler.rs, `text_len`)."""
    total = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            total += len(content.encode())
        for part in content if isinstance(content, list) else []:
            total += len(part.get("text", "").encode()) + len(part.get("content", "").encode())
    return total


@given(messages, st.booleans())
def test_the_size_is_that_of_the_original(messages: list[dict[str, Any]], escaped: bool):
    fields = {"model": "m", "messages": messages, "prompt": "not counted beside messages"}
    assert text_bytes(json.dumps(fields, ensure_ascii=escaped).encode()) == original_size(messages)


def test_an_image_does_not_count():
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    request = body(messages=[user([image, {"type": "text", "text": "What is this?"}])])
    assert text_bytes(request) == len("What is this?")
    assert not exceeds(request, 51_200)


def test_escaped_text_counts_as_utf_8():
    plain = body(messages=[user(TEXT * 100)])
    escaped = json.dumps({"messages": [user(TEXT * 100)]}).encode()
    assert len(escaped) > len(plain)
    assert text_bytes(escaped) == text_bytes(plain) == len(TEXT.encode()) * 100


def test_a_prompt_is_a_text_or_a_list_of_texts():
    assert text_bytes(body(prompt=TEXT)) == len(TEXT.encode())
    assert text_bytes(body(prompt=["ab", TEXT])) == len(TEXT.encode()) + 2
    assert text_bytes(body(prompt=[1, 2, 3])) == text_bytes(body(prompt=[[1], [2]])) == 0


def test_tools_do_not_count():
    assert text_bytes(body(messages=[user("hi")], tools=[{"type": "function", "function": {"name": "f"}}])) == 2


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_a_prompt_exceeds_only_a_lower_limit(limit: int):
    assert exceeds(body(prompt="ab"), limit) is (limit < 2)


@pytest.mark.parametrize(
    "request_body", [b"", b"{}", b"[", b"\xff", b"[]", b"7", b'{"messages": 7}', b'{"messages": [7]}', b"{" * 5000]
)
def test_a_body_without_a_readable_prompt_has_no_text(request_body: bytes):
    assert text_bytes(request_body) == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_prompt_in_any_encoding_of_json_counts_as_utf_8(encoding: str):
    assert text_bytes(json.dumps({"messages": [user("äöü")]}, ensure_ascii=False).encode(encoding)) == 6


def test_json_that_only_python_reads_is_counted():
    assert text_bytes(b'{"temperature": NaN, "messages": [{"content": "abc"}]}') == 3
    assert text_bytes(rb'{"messages": [{"content": "ab\ud83d"}]}') == 5


@pytest.mark.parametrize(
    "long_list", [{"prompt": [1] * 200_000}, {"messages": [{}] * 200_000}], ids=["prompt", "messages"]
)
def test_the_values_of_a_very_long_list_are_not_built(long_list: dict):
    request_body = body(**long_list)
    tracemalloc.start()
    try:
        assert text_bytes(request_body) == len(request_body)
        assert tracemalloc.get_traced_memory()[1] < len(request_body)
    finally:
        tracemalloc.stop()
