import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.ask import parse
from svc.router.names import STEPS, meant, renamed
from tests.unit.router.made import request

ALIASES = {"gpt-4": "qwen", "old": "gone"}
FALLBACKS = {"gone": "qwen", "lost": "gone", "x": "y", "y": "x"}


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        (None, None),
        ("qwen", "qwen"),
        ("gpt-4", "qwen"),
        ("gone", "qwen"),
        ("old", "qwen"),  # an alias, and then its fallback
        ("lost", "qwen"),  # the fallback of a fallback
        ("x", "x"),  # a circle: what was asked for is what nobody has
        ("nobody", "nobody"),
    ],
)
def test_what_is_meant(asked: str | None, model: str | None):
    assert meant(asked, ALIASES, FALLBACKS, lambda m: m == "qwen") == model


def test_a_fallback_is_for_when_nobody_has_it():
    assert meant("gone", ALIASES, FALLBACKS, lambda m: m in ("gone", "qwen")) == "gone"


def test_aliases_stand_for_models_not_for_aliases():
    assert meant("a", {"a": "b", "b": "c"}, {}, lambda m: True) == "b"


def test_fallbacks_end():
    long = {str(n): str(n + 1) for n in range(STEPS + 5)}
    assert meant("0", {}, long, lambda m: m == str(STEPS - 1)) == str(STEPS - 1)
    assert meant("0", {}, long, lambda m: m == str(STEPS + 4)) == "0"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


@given(st.dictionaries(st.text(), VALUES), st.text(min_size=1))
def test_only_the_model_of_a_body_changes(fields: dict[str, object], new: str):
    fields["model"] = "old"
    assert json.loads(renamed(json.dumps(fields).encode(), "old", new)) == {**fields, "model": new}


def test_numbers_stay_as_they_were_written():
    body = b' {"a": 1.10, "model": "old", "n": 123456789012345678901234567890, "b": {"model": "old" , "x":1e2}}'
    told = renamed(body, "old", "new")
    for kept in (b"1.10", b"123456789012345678901234567890", b'{"model": "old" , "x":1e2}'):
        assert kept in told
    assert json.loads(told)["model"] == "new"


@pytest.mark.parametrize("quotes", [b'"model"', b"model"])
def test_the_model_of_a_form_changes_and_its_file_does_not(quotes: bytes):
    file = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nold\r\n\0--\r\nold\r\n'
    form = file + b"--B\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n--B--\r\n"
    told = renamed(form % (quotes, b"old"), "old", "much/newer")
    assert told == form % (quotes, b"much/newer")
    parsed = parse(request(told, (b"Content-Type", b"multipart/form-data; boundary=B")))
    assert parsed.model == "much/newer"


def test_a_body_that_is_no_json_stays():
    assert renamed(b'{"model": "old",', "old", "new") == b'{"model": "old",'
