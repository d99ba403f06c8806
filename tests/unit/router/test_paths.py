import pytest

from svc.router.paths import creates_response, infers


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/chat/completions", b"/chat/completions", b"/v1/messages?beta=true", b"/v1/responses", b"/v2/rerank",
        b"/tokenize", b"/v1/audio/transcriptions", b"/api/chat", b"/generate", b"/completion",
    ],
)  # fmt: skip
def test_a_path_that_only_infers(target: bytes):
    assert infers(b"POST", target)
    assert not infers(b"GET", target)


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/files", b"/v1/batches", b"/v1/responses/resp_1/cancel", b"/slots", b"/v1/load_lora_adapter", b"/sleep",
        b"/v1", b"/", b"/v1/v1/messages", b"/v1/chat/completions/", b"//v1/messages",
    ],
)  # fmt: skip
def test_a_path_that_does_more(target: bytes):
    assert not infers(b"POST", target)


@pytest.mark.parametrize(
    ("path", "body", "stored"),
    [
        (b"/v1/responses", b"{}", False),
        (b"/v1/responses", b'{"store": false}', False),
        (b"/v1/responses", b'{"store": true}', True),
        (b"/responses", b'{"background": true}', True),
        (b"/v1/responses", b'{"store": null}', False),
        (b"/v1/responses", b'{"store": "yes"}', True),
        (b"/v1/responses", b"{", True),
        (b"/v1/responses?a=b", b'{"store": true}', True),
        (b"/v1/chat/completions", b'{"store": true}', False),
    ],
)
def test_a_stored_response_is_created(path: bytes, body: bytes, stored: bool):
    assert creates_response(path, body) is stored
