from svc.router.http.head_cache import MAX_CACHED_HEAD_BYTES, MAX_CACHED_HEADS, HeadCache
from svc.router.http.request_head_cache import RequestHeadCache
from svc.router.http.request_parser import RequestParser
from svc.router.http.response_parser import ResponseParser

HEAD = b"POST /x HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n"


def test_a_cached_head_is_found_with_any_content_length():
    cache: HeadCache[str] = HeadCache()
    assert cache.find(HEAD % 2 + b"hi") is None
    cache.add(HEAD % 2 + b"hi", "head", 2)
    assert cache.find(HEAD % 2 + b"ho") == ("head", len(HEAD % 2), 0)
    assert cache.find(HEAD % 12 + b"hello, world") == ("head", len(HEAD % 12), 0)
    assert cache.find(HEAD % 0) == ("head", len(HEAD % 0), 0)


def test_a_cached_head_is_found_with_a_part_of_its_body():
    cache: HeadCache[str] = HeadCache()
    cache.add(HEAD % 12 + b"hello", "head", 12)
    assert cache.find(HEAD % 100_000 + b"hello") == ("head", len(HEAD % 100_000), 99_995)
    assert cache.find(HEAD % 3) == ("head", len(HEAD % 3), 3)
    assert cache.find((HEAD % 3)[:-1]) is None


def test_nothing_that_is_not_one_message_is_found():
    cache: HeadCache[str] = HeadCache()
    cache.add(HEAD % 2 + b"hi", "head", 2)
    for other in (
        HEAD % 2 + b"hi!",
        HEAD[:-4] % 2 + b"\r\n",
        HEAD.replace(b"%d", b"+2") + b"hi",
        HEAD.replace(b"%d", b" 2") + b"hi",
        HEAD.replace(b"%d", b"") + b"hi",
        HEAD.replace(b"%d", b"0000000002") + b"hi",
        HEAD.replace(b"%d", b"2, 2") + b"hi",
        HEAD.replace(b"X-A", b"x-a") % 2 + b"hi",
        b"\r\n" + HEAD % 2 + b"hi",
        b"",
    ):
        assert cache.find(other) is None, other


def test_one_without_a_body_is_known_by_all_its_bytes():
    cache: HeadCache[str] = HeadCache()
    cache.add(b"GET / HTTP/1.1\r\n\r\n", "head", None)
    assert cache.find(b"GET / HTTP/1.1\r\n\r\n") == ("head", 18, 0)
    assert cache.find(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n") is None


def test_another_header_that_ends_like_the_length_is_none():
    cache: HeadCache[str] = HeadCache()
    strong = b"GET / HTTP/1.1\r\nX-Strength: 3\r\n\r\n"
    cache.add(strong, "head", None)
    assert cache.find(strong) is None
    both = b"POST / HTTP/1.1\r\nX-Strength: 3\r\nContent-Length: 1\r\n\r\n1"
    cache.add(both, "head", 1)
    assert cache.find(both) is None


def test_a_message_with_bytes_after_it_and_a_long_head_are_not_cached():
    cache: HeadCache[str] = HeadCache()
    cache.add(HEAD % 2 + b"hi!", "head", 2)
    cache.add(b"GET / HTTP/1.1\r\n\r\nmore", "head", None)
    cache.add(b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * MAX_CACHED_HEAD_BYTES), "head", None)
    assert not cache._heads  # noqa: SLF001 - nothing is kept of them


def test_no_more_is_kept_than_a_few_hundred_heads():
    cache: HeadCache[int] = HeadCache()
    for n in range(3 * MAX_CACHED_HEADS):
        cache.add(b"GET /%d HTTP/1.1\r\n\r\n" % n, n, None)
        assert cache.find(b"GET /%d HTTP/1.1\r\n\r\n" % n) is not None
        assert len(cache._heads) <= MAX_CACHED_HEADS  # noqa: SLF001 - what a stranger can fill


def test_a_reader_learns_only_heads_that_come_again():
    heads = RequestHeadCache()
    for line, kept in (
        (b"Accept: a", 1),
        (b"X-Request-Id: 1", 1),
        (b"traceparent: 00-1-2-03", 1),
        (b"Transfer-Encoding: chunked", 1),
        (b"Expect: 100-continue\r\nContent-Length: 0", 1),
        (b"Content-Length: 0", 2),
        (b"Content-Length: 9\r\nX-Request-Id: 1", 2),
        (b"Expect: 100-continue\r\nContent-Length: 9", 2),
        (b"Connection: close\r\nContent-Length: 9", 2),
        (b"Content-Length: 9\r\nX-Other: 1", 3),
    ):
        reader = RequestParser(1000, heads)
        reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % line)
        assert len(heads._heads) == kept, line  # noqa: SLF001


def test_what_is_known_is_bound_by_the_reader_s_own_limit():
    heads = RequestHeadCache()
    RequestParser(1000, heads).feed(HEAD % 900 + b"x" * 900)
    reader = RequestParser(100, heads)
    reader.feed(HEAD % 900 + b"x" * 900)
    assert reader.error is not None
    assert reader.error.status == 413


def test_responses_are_found_in_the_cache_in_any_order():
    cache: HeadCache = HeadCache()
    reader = ResponseParser(cache)
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for data, body in (
        (plain % (2, b"hi"), b"hi"),
        (plain % (5, b"hello"), b"hello"),
        (chunks + b"1\r\na\r\n0\r\n\r\n", b"a"),
        (plain % (3, b"abc"), b"abc"),
    ):
        reader.begin(False)
        reader.feed(data)
        assert reader.done
        assert reader.head is not None
        assert reader.persistent
        assert reader.head.status == 200
        assert b"".join(reader.body) == body
        reader.body.clear()
    assert len(cache._heads) == 1  # noqa: SLF001
    reader.begin(True)  # to a HEAD request, the same head is another answer
    reader.feed(plain % (2, b""))
    assert (reader.done, reader.body) == (True, [])
