import pytest

from svc.router.http.security_headers import NOSNIFF, SANDBOX, security_headers


def of(*types):
    headers = [(b"Content-Type", media) for media in types]
    return security_headers(headers, types[-1] if types else b"", len(types) < 2)


@pytest.mark.parametrize(
    "media",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/problem+json",
        b"text/event-stream",
        b"text/event-stream;charset=UTF-8",
        b"audio/mpeg",
        b"video/mp4",
        b"image/png",
        b"application/x-ndjson",
    ],
)
def test_what_apis_answer_passes_as_it_is(media):
    assert of(media) == ()


@pytest.mark.parametrize(
    "media",
    [
        b"text/html",
        b"TEXT/HTML",
        b"image/svg+xml",
        b"application/xhtml+xml",
        b"text/xml",
        b"text/javascript",
        b"",
        b"text/css",
        b"multipart/x-mixed-replace",
        b"application/json, text/html",
        b"application/json;x,text/html",
        b"*/*",
        b"json",
        b"application/pdf",
        b"image/x-xml",
        b"\x80/html",
    ],
)
def test_whatever_a_browser_may_run_is_sandboxed(media):
    assert of(media) == (NOSNIFF, SANDBOX)


def test_a_missing_or_a_second_type_is_sandboxed():
    assert of() == (NOSNIFF, SANDBOX)
    assert of(b"text/html", b"application/json") == of(b"application/json", b"text/html") == (NOSNIFF, SANDBOX)


def test_a_browser_must_not_guess_what_plain_types_are():
    assert of(b"text/plain; charset=utf-8") == of(b"application/octet-stream") == (NOSNIFF,)
