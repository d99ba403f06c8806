"""Documents by how much of the query they hold, as vLLM, Jina and Cohere tell it. Pure."""

from typing import Any

from svc.mock.usage import count


def body(id: str, model: str, query: str, documents: list[str], top: int | None) -> dict[str, Any]:
    words = set(query.lower().split())
    scores = [_share(words, text) for text in documents]
    ranked = [
        {"index": index, "document": {"text": documents[index]}, "relevance_score": scores[index]}
        for index in sorted(range(len(documents)), key=lambda index: -scores[index])
    ]
    tokens = sum(map(count, documents)) + count(query) * len(documents)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"id": id, "model": model, "usage": usage, "results": ranked[:top]}


def _share(words: set[str], text: str) -> float:
    return len(words & set(text.lower().split())) / max(1, len(words))
