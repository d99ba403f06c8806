"""Texts to unit vectors: the same text has the same vector, everywhere. Pure."""

import base64
import hashlib
import math
import struct
from typing import Any

from svc.mock.usage import count

DIMENSIONS = 64


def vector(text: str, dimensions: int) -> list[float]:
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(4 * dimensions)
    values = [value + 0.5 for value in struct.unpack(f"<{dimensions}i", digest)]  # never all of them 0
    length = math.sqrt(math.fsum(value * value for value in values))
    return [value / length for value in values]


def body(texts: list[str], model: str, dimensions: int | None, encoding: str | None) -> dict[str, Any]:
    vectors = [vector(text, dimensions or DIMENSIONS) for text in texts]
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(v) if encoding == "base64" else v}
        for i, v in enumerate(vectors)
    ]
    tokens = sum(map(count, texts))
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
