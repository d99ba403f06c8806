"""Documents in order."""

from svc.mock.rerank import body

TEXTS = ["red", "Green apples", "red apples"]


def order(query: str, top: int | None = None) -> list[int]:
    return [result["index"] for result in body("r", "a", query, TEXTS, top)["results"]]


def test_who_holds_most_of_the_query_is_first_and_ties_keep_their_order():
    results = body("r", "a", "red Apples", TEXTS, None)["results"]
    assert [(r["index"], r["relevance_score"]) for r in results] == [(2, 1.0), (0, 0.5), (1, 0.5)]
    assert results[0]["document"] == {"text": "red apples"}


def test_only_so_many_are_told():
    assert order("green", 1) == [1]


def test_an_empty_query_suits_all():
    assert order("") == [0, 1, 2]


def test_the_query_is_read_with_each_document():
    assert body("r", "a", "abcd", ["abcd", "abcdefgh"], None)["usage"]["total_tokens"] == 5
