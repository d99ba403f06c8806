import pytest

from svc.router.balance.model_aliases import MAX_FALLBACK_STEPS, resolve, with_model
from svc.router.balance.routing_request import parse
from tests.unit.router.examples import request

ALIASES = {"gpt-4": "qwen", "old": "gone"}
FALLBACKS = {"gone": "qwen", "lost": "gone", "x": "y", "y": "x"}


@pytest.mark.parametrize(
    ("requested", "model"),
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
def test_aliases_and_fallbacks_are_resolved(requested: str | None, model: str | None):
    assert resolve(requested, ALIASES, FALLBACKS, lambda m: m == "qwen") == model


def test_a_fallback_is_for_when_nobody_has_it():
    assert resolve("gone", ALIASES, FALLBACKS, lambda m: m in ("gone", "qwen")) == "gone"


def test_aliases_stand_for_models_not_for_aliases():
    assert resolve("a", {"a": "b", "b": "c"}, {}, lambda m: True) == "b"


def test_fallbacks_end():
    long = {str(n): str(n + 1) for n in range(MAX_FALLBACK_STEPS + 5)}
    assert resolve("0", {}, long, lambda m: m == str(MAX_FALLBACK_STEPS - 1)) == str(MAX_FALLBACK_STEPS - 1)
    assert resolve("0", {}, long, lambda m: m == str(MAX_FALLBACK_STEPS + 4)) == "0"


FORM = (b"Content-Type", b"multipart/form-data; boundary=B")


@pytest.mark.parametrize("quotes", [b'"model"', b"model"])
def test_the_model_of_a_form_changes_and_its_file_does_not(quotes: bytes):
    file = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nold\r\n\0--\r\nold\r\n'
    form = file + b"--B\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n--B--\r\n"
    body = with_model(request(form % (quotes, b"old"), FORM), "much/newer").body
    assert body == form % (quotes, b"much/newer")
    assert parse(request(body, FORM)).model == "much/newer"


def test_the_model_of_a_json_body_changes():
    assert with_model(request(b'{"model": "old"}'), "new").body == b'{"model": "new"}'


def test_the_model_of_a_query_changes():
    sdp = (b"Content-Type", b"application/sdp")
    changed = with_model(request(b"v=0", sdp, uri=b"/v1/realtime/calls?a=%20b&mod%65l=old&c"), "a/b &c")
    assert (changed.head.uri, changed.body) == (b"/v1/realtime/calls?a=%20b&model=a%2Fb%20%26c&c", b"v=0")
    assert changed.head.headers == (sdp,)
    assert parse(changed).model == "a/b &c"
