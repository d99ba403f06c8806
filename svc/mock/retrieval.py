"""Embeddings and reranking, the APIs of retrieval models. Pure."""

import base64
import hashlib
import math
import struct
from typing import Any

from svc.mock.generation import count_tokens

DEFAULT_DIMENSIONS = 64


def unit_vector(text: str, dimensions: int) -> list[float]:
    """Return a vector of length 1 that depends only on the text and the number of dimensions."""
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(4 * dimensions)
    values = [value + 0.5 for value in struct.unpack(f"<{dimensions}i", digest)]  # + 0.5, so that no value is 0
    length = math.sqrt(math.fsum(value * value for value in values))
    return [value / length for value in values]


def embeddings_body(texts: list[str], model: str, dimensions: int | None, encoding: str | None) -> dict[str, Any]:
    """Return the body of an answer from OpenAI's /v1/embeddings."""
    vectors = [unit_vector(text, dimensions or DEFAULT_DIMENSIONS) for text in texts]
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(vector) if encoding == "base64" else vector}
        for i, vector in enumerate(vectors)
    ]
    tokens = sum(map(count_tokens, texts))
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def rerank_body(id: str, model: str, query: str, documents: list[str], top: int | None) -> dict[str, Any]:
    """Return the body of a rerank answer, in the format of vLLM, Jina and Cohere.

    Documents are sorted by the share of the query's words that they contain, the largest first.
    """
    query_words = set(query.lower().split())
    scores = [_share_of_words(query_words, text) for text in documents]
    ranked = [
        {"index": index, "document": {"text": documents[index]}, "relevance_score": scores[index]}
        for index in sorted(range(len(documents)), key=lambda index: -scores[index])
    ]
    tokens = sum(map(count_tokens, documents)) + count_tokens(query) * len(documents)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"id": id, "model": model, "usage": usage, "results": ranked[:top]}


def _share_of_words(query_words: set[str], text: str) -> float:
    return len(query_words & set(text.lower().split())) / max(1, len(query_words))
