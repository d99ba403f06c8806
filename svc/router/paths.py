"""Which requests only infer: sent twice, they do the same work twice and leave nothing behind. Pure."""

import msgspec

INFERENCE = (
    # OpenAI and Anthropic
    b"/chat/completions /completions /messages /messages/count_tokens /responses /embeddings /moderations "
    b"/audio/transcriptions /audio/translations /audio/speech /images/generations /images/edits /images/variations "
    # vLLM and SGLang
    b"/rerank /score /pooling /classify /tokenize /detokenize /generate /encode "
    # TGI and TEI
    b"/generate_stream /chat_tokenize /embed /embed_all /embed_sparse /similarity /predict "
    # llama.cpp and whisper.cpp
    b"/completion /infill /embedding /reranking /apply-template /inference "
    # Ollama
    b"/api/generate /api/chat /api/embed /api/embeddings"
)
PATHS = frozenset(version + path for path in INFERENCE.split() for version in (b"", b"/v1", b"/v2"))


def infers(method: bytes, target: bytes) -> bool:
    """Whether a request only infers, with or without a version before its path. Stored responses do more."""
    return method == b"POST" and target.partition(b"?")[0] in PATHS


class _StoreFields(msgspec.Struct):
    store: bool | None = None
    background: bool | None = None


_decode_store_fields = msgspec.json.Decoder(_StoreFields).decode


def creates_response(target: bytes, body: bytes) -> bool:
    """Whether a request leaves a stored response behind, as `store` or `background` say; what cannot be read may.

    A body without `store` does not count. OpenAI's default is true, but vLLM stores nothing by default, and SGLang
    only in the instance's memory, which is lost with the instance.
    """
    if not target.partition(b"?")[0].endswith(b"/responses"):
        return False
    try:
        fields = _decode_store_fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return bool(fields.store or fields.background)
