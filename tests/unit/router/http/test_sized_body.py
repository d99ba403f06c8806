import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import TooLarge
from svc.router.http.request_head_cache import RequestHeadCache
from svc.router.http.request_parser import RequestParser
from svc.router.http.sized_body import MAX_BODY_PIECES, SizedBody

HEAD = b"POST /x HTTP/1.1\r\nHost: r\r\nOrigin: o\r\nContent-Length: %d\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: r\r\n\r\n"


@pytest.fixture
def heads() -> RequestHeadCache:
    heads = RequestHeadCache()
    RequestParser(1000, heads).feed(HEAD % 1 + b"x")
    return heads


def test_the_pieces_are_joined_and_the_rest_belongs_to_the_next_request():
    body = SizedBody(memoryview(b"ab"), 4)
    assert (body.add(b"cd"), body.missing) == (b"", 2)
    assert (body.add(b"efNEXT"), body.missing) == (b"NEXT", 0)
    assert body.join() == b"abcdef"


def test_many_small_pieces_take_no_more_memory_than_their_content():
    body = SizedBody(memoryview(b""), 10 * MAX_BODY_PIECES)
    for _ in range(10 * MAX_BODY_PIECES):
        body.add(b"x")
        assert len(body._pieces) <= MAX_BODY_PIECES  # noqa: SLF001
    assert body.join() == b"x" * 10 * MAX_BODY_PIECES


def test_the_head_of_a_body_that_is_incomplete_is_cached(heads: RequestHeadCache):
    reader = RequestParser(1000, heads)
    reader.feed(b"PUT /y HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhe")
    assert heads.find(b"PUT /y HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\n\r\n") is not None
    reader.feed(b"llo" + NEXT)
    assert [(r.head.uri, r.body) for r in reader.ready] == [(b"/y", b"hello"), (b"/next", b"")]


def test_an_incomplete_body_has_a_head_and_sizes(heads: RequestHeadCache):
    reader = RequestParser(1000, heads)
    reader.feed(HEAD % 10 + b"hell")
    assert (reader.begun, reader.arriving, reader.body_size, reader.declared_size()) == (True, True, 4, 10)
    assert (reader.head().uri, reader.uri, reader.origin, reader.wants_continue) == (b"/x", b"/x", b"o", False)
    reader.feed(b"o, wo")
    assert (reader.body_size, reader.declared_size(), len(reader.ready)) == (9, 10, 0)


def test_an_incomplete_body_may_be_as_large_as_any_other(heads: RequestHeadCache):
    for size, error in ((1000, type(None)), (1001, TooLarge)):
        reader = RequestParser(1000, heads)
        reader.feed(HEAD % size + b"x")
        assert isinstance(reader.error, error)


def test_a_discarded_body_is_gone(heads: RequestHeadCache):
    reader = RequestParser(1000, heads)
    reader.feed(HEAD % 10 + b"x")
    reader.discard_body()
    assert reader.begun
    assert not reader.ready


@given(
    st.lists(st.sampled_from([HEAD % 0, HEAD % 3 + b"abc", HEAD % 90 + b"d" * 90, NEXT]), max_size=5),
    st.lists(st.integers(0, 600), max_size=8),
)
def test_requests_with_cached_heads_are_the_same_however_they_are_split(requests: list[bytes], cuts: list[int]):
    data, cached = b"".join(requests), RequestHeadCache()
    for request in (HEAD % 1 + b"x", NEXT):
        RequestParser(1000, cached).feed(request)
    reader, plain = RequestParser(1000, cached), RequestParser(1000)
    plain.feed(data)
    cuts = sorted(min(cut, len(data)) for cut in cuts)
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if start < end:
            reader.feed(data[start:end])
    assert reader.error is None
    assert not reader.begun
    assert [(r.head.uri, r.body) for r in reader.ready] == [(r.head.uri, r.body) for r in plain.ready]
