import pytest

from svc.router.http.allowed_paths import AllowedPaths, creates_response, is_inference, is_own


@pytest.mark.parametrize(
    "uri",
    [
        b"/v1/chat/completions",
        b"/chat/completions",
        b"/v1/messages?beta=true",
        b"/v1/responses",
        b"/v2/rerank",
        b"/tokenize",
        b"/v1/audio/transcriptions",
        b"/api/chat",
        b"/generate",
        b"/completion",
    ],
)
def test_a_path_that_only_infers(uri: bytes):
    assert is_inference(b"POST", uri)
    assert not is_inference(b"GET", uri)


@pytest.mark.parametrize(
    "uri",
    [
        b"/v1/files",
        b"/v1/batches",
        b"/v1/responses/resp_1/cancel",
        b"/slots",
        b"/v1/load_lora_adapter",
        b"/sleep",
        b"/v1",
        b"/v1/",
        b"/v1/v1/messages",
        b"/v1/chat/completions/",
        b"//v1/messages",
    ],
)
def test_a_path_that_does_more(uri: bytes):
    assert not is_inference(b"POST", uri)


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


INFERENCE = (
    "POST /v1/chat/completions",
    "POST /chat/completions",
    "POST /v1/completions?a=b",
    "POST /v1/messages",
    "POST /v1/responses",
    "POST /v1/embeddings",
    "POST /v2/rerank",
    "POST /tokenize",
    "POST /v1/tokenize",
    "POST /v1/audio/transcriptions",
    "POST /v1/images/generations",
    "POST /generate",
    "POST /infill",
    "POST /api/chat",
    "GET /v1/responses/resp_1?stream=true",
    "DELETE /responses/resp_1",
    "POST /v1/responses/resp_1/cancel",
    "GET /v1/responses/resp_1/input_items",
    "GET /v1/realtime?model=m",
    "GET /api/tags",
    "POST /api/show",
    "HEAD /",
)
MANAGEMENT = (
    "POST /sleep?level=2",
    "POST /wake_up",
    "POST /v1/load_lora_adapter",
    "POST /load_lora_adapter",
    "POST /update_weights_from_disk",
    "POST /collective_rpc",
    "POST /flush_cache",
    "GET /flush_cache",
    "POST /reset_prefix_cache",
    "POST /pause",
    "GET /slots",
    "POST /slots/0?action=erase",
    "POST /lora-adapters",
    "POST /models/load",
    "POST /models/unload",
    "GET /server_info",
    "GET /docs",
    "GET /metrics",
    "POST /start_profile",
    "POST /api/pull",
    "DELETE /api/delete",
    "POST /api/create",
    "POST /mock/behave",
    "GET /v1/files",
    "POST /v1/batches",
    "POST /abort_request",
    "OPTIONS /v1/chat/completions",
    "OPTIONS *",
    "GET /v1/chat/completions",
    "PUT /v1/chat/completions",
    "GET /",
    "post /v1/chat/completions",
)
DISGUISED = (
    "POST //sleep",
    "POST /v1/../sleep",
    "POST /v1/chat/completions/../../../sleep",
    "POST /v1/%2e%2e/sleep",
    "POST /v1/chat/completions/",
    "POST //v1/chat/completions",
    "POST /v1//chat/completions",
    "POST /V1/chat/completions",
    "POST /v1/chat/completions;x=1",
    "POST /v1/chat/completions#",
    "POST /v1/chat%2fcompletions",
    "POST /sleep#/v1/x",
    "POST /%76%31/chat/completions",
    "POST /sleep?/v1/chat/completions",
    "GET /v1/responses/../../sleep",
    "GET /v1/responses/%2e%2e",
    "GET /v1/responses/a/b",
    "GET /v1/responses/",
    "POST \\sleep",
    "GET /v1/responses/a%2f..%2f..%2fsleep",
    "GET /v1/responses/a;b",
)


def allowed(paths: AllowedPaths, line: str) -> bool:
    method, uri = line.encode().split(b" ", 1)
    return paths.allow(method, uri)


@pytest.mark.parametrize("line", INFERENCE)
def test_inference_passes_by_default(line: str):
    assert allowed(AllowedPaths(), line)


@pytest.mark.parametrize("line", MANAGEMENT + DISGUISED)
def test_what_is_not_literally_listed_does_not_pass(line: str):
    assert not allowed(AllowedPaths(), line)
    assert allowed(AllowedPaths(["/other", "*"]), line)


def test_patterns_open_paths_with_any_method_or_with_one():
    paths = AllowedPaths(["/v1/files*", "GET /docs", "/v1/*/render"])
    for line in (
        "GET /v1/files",
        "DELETE /v1/files/a%20b?x=1",
        "GET /docs",
        "POST /v1/a/b/render",
        "POST /v1/messages",
    ):
        assert allowed(paths, line), line
    for line in ("POST /docs", "GET /docs/", "GET /v1/file", "GET /a/v1/files", "GET /v1/render", "POST /sleep"):
        assert not allowed(paths, line), line


@pytest.mark.parametrize(
    "rest",
    [
        "/../../sleep",
        "//sleep",
        "/./a",
        "/..",
        "/%2e%2e/sleep",
        "/%2E/a",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "/..;/a",
        "/%252e",
        "/a%00",
        "/%0d%0a",
        "/%",
        "/\xe4",
    ],
)
def test_a_pattern_matches_no_path_that_an_engine_may_read_otherwise(rest: str):
    assert not AllowedPaths(["/v1/files*"]).allow(b"GET", b"/v1/files" + rest.encode("latin-1"))


def test_a_pattern_is_no_regular_expression():
    assert not allowed(AllowedPaths(["/v1/f.les"]), "GET /v1/files")
    assert allowed(AllowedPaths(["/v1/f(i)les"]), "GET /v1/f(i)les")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /health",
        b"HEAD /v1/models?x=1",
        b"GET /v1/models/a/b",
        b"GET /metrics",
        b"GET /readyz",
        b"GET /openapi.json",
    ],
)
def test_these_requests_the_router_answers_itself(line: bytes):
    assert is_own(*line.split())


@pytest.mark.parametrize(
    "line",
    [
        b"POST /health",
        b"GET /health/",
        b"GET //health",
        b"OPTIONS /v1/models",
        b"GET /v1/models2",
        b"GET /",
        b"DELETE /v1/models/a",
        b"GET /v1/health",
        b"GET /%68ealth",
        b"GET *",
    ],
)
def test_these_requests_the_router_does_not_answer_itself(line: bytes):
    assert not is_own(*line.split())


@pytest.mark.parametrize(
    ("line", "accept", "opens"),
    [
        ("GET /", b"text/html,*/*", True),
        ("GET /?x=1", b"application/xhtml+xml, TEXT/HTML;q=0.9", True),
        ("GET /", b"*/*", False),
        ("GET /", b"", False),
        ("HEAD /", b"text/html", False),
        ("POST /", b"text/html", False),
        ("GET /v1/models", b"text/html", False),
    ],
)
def test_only_a_browser_at_the_root_opens_the_page(line: str, accept: bytes, opens: bool):
    method, uri = line.encode().split()
    assert AllowedPaths().opens_page(method, uri, accept) == opens
    assert not AllowedPaths(["GET /"]).opens_page(method, uri, accept)
    assert not AllowedPaths(["*"]).opens_page(method, uri, accept)
