"""Classifies requests: the router's own, those relayed to instances, and those that only ask for inference. Pure.

Engines serve management endpoints beside inference: `/sleep`, `/load_lora_adapter`, `/update_weights_from_disk`. So the
router relays only the paths listed here. Paths are compared byte for byte, because each engine normalises paths in its
own way (`//sleep`, `/v1/../sleep`, `/%73leep`). A path that begins with /v1 is also relayed without this prefix:
InfiniLM, llama.cpp and SGLang serve several paths without it.
"""

import re
from collections.abc import Iterable

import msgspec

from svc.base.text_patterns import CANONICAL_PATH

# Paths of POST requests that only ask for inference. Sending such a request twice has no effect but double work.
INFERENCE = {
    "OpenAI": "/v1/chat/completions /v1/completions /v1/responses /v1/responses/compact /v1/embeddings "
    "/v1/moderations /v1/audio/transcriptions /v1/audio/translations /v1/audio/speech "
    "/v1/images/generations /v1/images/edits /v1/images/variations",
    "Anthropic": "/v1/messages /v1/messages/count_tokens",
    "Cohere and Jina, as vLLM, SGLang and llama.cpp serve them": "/v1/rerank /v2/rerank /v1/reranking /v2/embed",
    "vLLM": "/v1/chat/completions/batch /v1/chat/completions/render /v1/chat/completions/derender "
    "/v1/completions/render /v1/completions/derender /inference/v1/generate /generative_scoring "
    "/v1/score /v1/pooling /v1/classify /v1/tokenize /v1/detokenize /invocations",
    "SGLang": "/v1/generate /v1/encode /separate_reasoning /parse_function_call /vertex_generate",
    "TGI and TEI": "/ /generate_stream /chat_tokenize /vertex /embed /embed_all /embed_sparse /similarity /predict "
    "/predict_tokens /decode",
    "llama.cpp and whisper.cpp": "/v1/completion /v1/infill /v1/embedding /apply-template /inference "
    "/v1/chat/completions/input_tokens /v1/responses/input_tokens",
    "Ollama": "/api/generate /api/chat /api/embed /api/embeddings",
}
# Other requests that clients of these APIs send. ID stands for letters, digits, - and _.
AUXILIARY = {
    "OpenAI's Responses": "GET /v1/responses/ID, DELETE /v1/responses/ID, POST /v1/responses/ID/cancel, "
    "GET /v1/responses/ID/input_items",
    "by WebSocket and WebRTC": "GET /v1/responses, GET /v1/realtime, POST /v1/realtime, POST /v1/realtime/calls, "
    "POST /v1/realtime/sessions, POST /v1/realtime/client_secrets, POST /v1/realtime/transcription_sessions",
    "speech": "GET /v1/audio/voices, GET /v1/audio/speech/stream",
    "videos, as SGLang and vLLM-Omni serve them": "POST /v1/videos, GET /v1/videos/ID, GET /v1/videos/ID/content, "
    "DELETE /v1/videos/ID",
    "Ollama's clients": "HEAD /, GET /api/tags, HEAD /api/tags, POST /api/show, GET /api/ps, GET /api/version, "
    "HEAD /api/version",
}

CANONICAL = re.compile(CANONICAL_PATH.encode())
OWN_PATHS = frozenset(
    b"/health /status /models /v1/models /services /stats /usage /metrics /livez /readyz /openapi.json /ui".split()
)
ROUTE_PATH = b"/route"  # path of requests that ask which instance another request would get
OWN_POST_PREFIXES = (b"/ui/drain/", b"/ui/undrain/")
OWN_POST = re.compile(rb"/instances/[^?]+/(wake|sleep)|/models/[^?]+/wake")  # paths of operators' requests


def _with_and_without_v1(path: str) -> tuple[str, ...]:
    return (path, path.removeprefix("/v1")) if path.startswith("/v1/") else (path,)


def _split(routes: Iterable[str]) -> list[tuple[bytes, str]]:
    """Return method and path of each route in texts such as `GET /v1/realtime, POST /v1/realtime`.

    A path that begins with /v1 is also returned without it.
    """
    pairs = [route.split() for text in routes for route in text.split(",")]
    return [(method.encode(), variant) for method, path in pairs for variant in _with_and_without_v1(path)]


INFERENCE_PATHS = frozenset(
    variant.encode() for text in INFERENCE.values() for path in text.split() for variant in _with_and_without_v1(path)
)
AUXILIARY_ROUTES = frozenset((method, path.encode()) for method, path in _split(AUXILIARY.values()) if "ID" not in path)
AUXILIARY_WITH_ID = re.compile(
    b"|".join(
        b"%b %b" % (method, re.escape(path).replace("ID", "[A-Za-z0-9_-]+").encode())
        for method, path in _split(AUXILIARY.values())
        if "ID" in path
    )
)


def normalise(path: bytes) -> bytes:
    """Return the path without its empty segments, which most engines ignore."""
    return b"/" + b"/".join(segment for segment in path.split(b"/") if segment)


def is_inference(method: bytes, uri: bytes) -> bool:
    """Return whether a request only asks for inference, so that it changes nothing at the instance."""
    return method == b"POST" and uri.partition(b"?")[0] in INFERENCE_PATHS


def is_own(method: bytes, uri: bytes) -> bool:
    """Return whether the router answers a request itself; all other requests are for instances."""
    if method == b"POST":
        return uri.startswith(OWN_POST_PREFIXES) or OWN_POST.fullmatch(uri.partition(b"?")[0]) is not None
    if method not in (b"GET", b"HEAD"):
        return False
    path = uri.partition(b"?")[0]
    return path in OWN_PATHS or path.startswith((b"/v1/models/", b"/ui/"))


class AllowedPaths:
    """The requests that are relayed: those in INFERENCE and AUXILIARY, and those that `allow_paths` allows.

    `allow_paths` has patterns: paths in which `*` stands for any text. A method before a path limits the pattern to
    this method. The pattern `*` alone allows every request, even one whose path is not canonical.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        patterns = tuple(patterns)
        self._all = "*" in patterns
        self._patterns = re.compile(b"|".join(map(_expression, patterns))) if patterns else None

    def allow(self, method: bytes, uri: bytes) -> bool:
        """Return whether a request may be relayed; its query does not matter."""
        path = uri.partition(b"?")[0]
        if self._all or (method == b"POST" and path in INFERENCE_PATHS) or (method, path) in AUXILIARY_ROUTES:
            return True
        line = b"%b %b" % (method, path)
        if AUXILIARY_WITH_ID.fullmatch(line):
            return True
        return bool(self._patterns and CANONICAL.fullmatch(path) and self._patterns.fullmatch(line))

    def opens_page(self, method: bytes, uri: bytes, accept: bytes) -> bool:
        """Return whether a browser requests `/`, so that the router redirects the browser to the router's page.

        If `allow_paths` contains `/`, the request is relayed instead: an instance may have a page of its own there.
        """
        is_root = method == b"GET" and uri.partition(b"?")[0] == b"/"
        return is_root and b"text/html" in accept.lower() and not self.allow(method, uri)


def _expression(pattern: str) -> bytes:
    """Return the regular expression of a pattern; it matches texts of the form `METHOD PATH`."""
    method, _, path = pattern.rpartition(" ")
    return (re.escape(method) if method else "[A-Z-]+").encode() + b" " + _any_text(path)


def _any_text(path: str) -> bytes:
    return b".*".join(re.escape(part.encode()) for part in path.split("*"))


class _StoreFields(msgspec.Struct):
    store: bool | None = None
    background: bool | None = None


_decode_store_fields = msgspec.json.Decoder(_StoreFields).decode


def creates_response(uri: bytes, body: bytes) -> bool:
    """Return whether a request asks the instance to store its response, with the fields `store` or `background`.

    Return True for a body that cannot be parsed. A missing `store` counts as false: OpenAI's default is true, but vLLM
    stores nothing by default, and SGLang stores responses only in the instance's memory.
    """
    if not uri.partition(b"?")[0].endswith(b"/responses"):
        return False
    try:
        fields = _decode_store_fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return bool(fields.store or fields.background)
