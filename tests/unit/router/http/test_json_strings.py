import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import BadRequest
from svc.router.http.json_body import read_body
from svc.router.http.json_strings import LONG_STRING_BYTES, empty_long_strings, original_position
from tests.cpu import reference_cost

LONG = "x" * 5 * LONG_STRING_BYTES


def emptied(value: object) -> bytes:
    return empty_long_strings(json.dumps(value).encode())[0]


def without_long(value: Any) -> Any:
    if isinstance(value, dict):
        return {without_long(key): without_long(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_long(item) for item in value]
    return "" if isinstance(value, str) and len(json.dumps(value)) - 1 > LONG_STRING_BYTES else value


def test_a_long_string_becomes_empty_and_the_rest_stays():
    assert json.loads(emptied({"model": "m", "messages": [{"content": LONG}, {"content": "short"}], "n": 1})) == {
        "model": "m",
        "messages": [{"content": ""}, {"content": "short"}],
        "n": 1,
    }


@pytest.mark.parametrize("text", [b"", b"{}", b'"', b'{"a": "' + b"x" * 10_000, b'{"a": "short"}', b"\\", b'\\"'])
def test_without_a_whole_long_string_nothing_changes(text: bytes):
    assert empty_long_strings(text) == (text, [])


def test_a_string_with_a_line_break_is_kept_because_it_is_not_valid():
    text = b'{"a": "%b\n%b"}' % (LONG.encode(), LONG.encode())
    assert empty_long_strings(text) == (text, [])


@pytest.mark.parametrize("count", range(6))
def test_quotes_after_backslashes_end_a_string_only_if_they_are_not_escaped(count: int):
    content = LONG + "\\" * count + '"' * (count % 2)
    assert json.loads(emptied([content, "model"])) == ["", "model"]


def test_many_backslashes_or_quotes_end_the_search():
    for content in ("\\" * 20_000, '"' * 20_000, "\\" * 20_000 + LONG):
        assert json.loads(emptied([content])) in ([content], [""])
    text = b'{"a": "' + b'\\"' * 500_000 + b'"}'
    assert reference_cost(lambda: empty_long_strings(text)) < 0.1


@given(
    st.recursive(
        st.sampled_from(
            ["", "a", "\\", '"', LONG, LONG + "\\", LONG + '"', LONG + '\\"', '"' + LONG, "\u2028", 1, None]
        ),
        lambda value: st.lists(value, max_size=4) | st.dictionaries(st.sampled_from(["m", '"', LONG]), value),
        max_leaves=8,
    )
)
def test_any_value_keeps_its_structure(value: Any):
    assert without_long(json.loads(emptied(value))) == without_long(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": ["x" * 100_000], "model": "m", "prompt_cache_key": "k"},
        {"model": "m", "prompt_cache_key": "k", "messages": ["é\n\\" * 50_000]},
        {"model": "m", "prompt_cache_key": "k" * 40_000},
        {"model": "m", "prompt_cache_key": "", "messages": ["x" * 100_000]},
    ],
)
def test_the_fields_of_a_large_body_are_those_of_the_whole(fields: dict[str, Any]):
    read = read_body(json.dumps(fields).encode()).fields
    assert read.model == "m"
    assert json.loads(bytes(read.prompt_cache_key)) == fields["prompt_cache_key"]


@pytest.mark.parametrize("name", [b"model", b"mod\\u0065l"])
def test_of_two_models_the_last_one_counts_behind_a_long_string_too(name: bytes):
    text = b'{"model": "a", "x": "%b", "%b": "m"}' % (b"x" * 100_000, name)
    assert read_body(text).fields.model == json.loads(text)["model"] == "m"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_only_utf_8_is_searched(encoding: str):
    """In UTF-16, a byte of another character may be that of a quote."""
    text = json.dumps({"x": "\u2222" * 50_000, "model": "m"}, ensure_ascii=False)
    assert read_body(text.encode(encoding)).fields.model == "m"


def test_an_error_is_reported_with_its_position_in_the_whole_body():
    with pytest.raises(BadRequest, match=r"byte 100009\b"):
        read_body(b'{"x": "%b",}' % (b"x" * 100_000))


@given(st.lists(st.text(max_size=9) | st.just(LONG) | st.just('\\"' * 5000 + LONG), max_size=6))
def test_positions_in_the_emptied_text_are_found_in_the_original(texts: list[str]):
    items = [json.dumps(text).encode() for text in texts]
    text, removed = empty_long_strings(b"[" + b",".join(items) + b"]")
    start, place = 1, 1
    for item in items:
        end = json.JSONDecoder().raw_decode(text.decode(), start)[1]
        assert (original_position(start, removed), original_position(end, removed)) == (place, place + len(item))
        start, place = end + 1, place + len(item) + 1
