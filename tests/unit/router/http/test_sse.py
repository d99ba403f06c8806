"""Where events of a stream end, with every line end that the HTML standard knows."""

import pytest

from svc.router.http.sse import last_end, split


@pytest.mark.parametrize(
    ("whole", "rest"),
    [
        (b"data: 1\n\n", b""),
        (b"data: 1\r\n\r\n", b""),
        (b"data: 1\r\r", b""),
        (b"data: 1\n\r\n", b""),
        (b"data: 1\r\n\n", b""),
        (b"data: 1\r\r\n", b""),
        (b"data: 1\n\r", b""),
        (b"data: 1\r\n\r", b"data: 2"),
        (b"data: 1\n\ndata: 2\r\n\r\n", b"data: 3\r\n"),
        (b"data: 1\r\n\r\ndata: 2\n\n", b"data: 3\r"),
        (b"data: 1\r\rdata: 2\r\r", b"data: 3\r"),
        (b"event: x\ndata: 1\n\n", b"event: y\ndata: 2\n"),
        (b"", b"data: 1"),
        (b"", b"data: 1\n"),
        (b"", b"data: 1\r\n"),
        (b"", b"data: 1\r\ndata: 2\r\n"),
        (b"", b""),
    ],
)
def test_an_event_ends_at_an_empty_line(whole: bytes, rest: bytes):
    assert last_end(whole + rest) == last_end(bytearray(whole + rest)) == len(whole)


def test_half_of_a_crlf_after_a_crlf_is_waited_for():
    assert last_end(b"data: 1\r\n\r") == 0
    assert last_end(b"data: 1\n\ndata: 2\r\n\r") == len(b"data: 1\n\n")


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_are_split_at_their_ends(end: bytes):
    assert [event.strip() for event in split(b"event: x" + end + b"data: 1" + end * 2 + b"data: 2" + end * 2)] == [
        b"event: x" + end + b"data: 1",
        b"data: 2",
        b"",
    ]
    assert split(b"data: 1\n\ndata: unended") == [b"data: 1", b"data: unended"]
