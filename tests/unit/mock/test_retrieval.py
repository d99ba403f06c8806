"""Embeddings and reranking."""

import base64
import math
import struct

import pytest

from svc.mock.retrieval import DEFAULT_DIMENSIONS, embeddings_body, rerank_body, unit_vector


@pytest.mark.parametrize("dimensions", [1, 3, 4096])
def test_a_vector_has_length_one(dimensions):
    vector = unit_vector("hello", dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.hypot(*vector), 1)


def test_equal_texts_have_equal_vectors_and_others_do_not():
    assert unit_vector("a", 8) == unit_vector("a", 8) != unit_vector("b", 8)


def test_base64_holds_the_same_floats():
    plain = embeddings_body(["x"], "a", None, "float")["data"][0]["embedding"]
    packed = base64.b64decode(embeddings_body(["x"], "a", None, "base64")["data"][0]["embedding"])
    assert struct.unpack(f"<{DEFAULT_DIMENSIONS}f", packed) == pytest.approx(plain)


def test_embeddings_are_in_order_and_usage_counts_all_texts():
    body = embeddings_body(["abcd", "abcdefgh"], "a", 4, None)
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


TEXTS = ["red", "Green apples", "red apples"]


def order(query: str, top: int | None = None) -> list[int]:
    return [result["index"] for result in rerank_body("r", "a", query, TEXTS, top)["results"]]


def test_documents_are_ranked_by_words_and_ties_keep_their_order():
    results = rerank_body("r", "a", "red Apples", TEXTS, None)["results"]
    assert [(r["index"], r["relevance_score"]) for r in results] == [(2, 1.0), (0, 0.5), (1, 0.5)]
    assert results[0]["document"] == {"text": "red apples"}


def test_only_the_top_documents_are_returned():
    assert order("green", 1) == [1]


def test_an_empty_query_keeps_the_order():
    assert order("") == [0, 1, 2]


def test_the_query_counts_once_for_each_document():
    assert rerank_body("r", "a", "abcd", ["abcd", "abcdefgh"], None)["usage"]["total_tokens"] == 5
