import gzip
import zlib
from contextlib import suppress

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import BadRequest, TooLarge, UnsupportedMedia
from svc.router.http.content_coding import MAX_MEMBERS, decode
from tests.cpu import reference_cost

LIMIT = 10_000_000


def raw_deflate(body: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(body) + encoder.flush()


ENCODERS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"zstd": zstd.compress,
    b"br": lambda body: brotli.compress(body, quality=5),  # the highest, 11, needs a second for 60 MB
    b"identity": bytes,
}
CODINGS = [b"gzip", b"deflate", b"zstd", b"br"]
NOISE = bytes(range(256)) * 4 + zlib.compress(bytes(range(256)) * 50)
BODIES = [b"", b"x", b'{"model": "m"}' * 100_000, NOISE * 500]


@pytest.mark.parametrize("coding", ENCODERS)
@pytest.mark.parametrize(
    "body", [b"", b"x", b'{"model": "m"}' * 100_000, NOISE * 500], ids=["none", "one", "much", "noise"]
)
def test_a_body_is_decoded(coding: bytes, body: bytes):
    assert decode(ENCODERS[coding](body), coding, LIMIT) == body


def test_deflate_may_be_raw():
    assert decode(raw_deflate(b"hello"), b"deflate", LIMIT) == b"hello"


@pytest.mark.parametrize("listed", [b"gzip, zstd", b" GZIP ,ZSTD", b"identity, gzip, zstd"])
def test_two_codings_are_undone_from_the_last(listed: bytes):
    assert decode(zstd.compress(gzip.compress(b"hello")), listed, LIMIT) == b"hello"


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_several_members_follow_one_another(coding: bytes):
    encoded = ENCODERS[coding](b"hello")
    assert decode(encoded * MAX_MEMBERS, coding, LIMIT) == b"hello" * MAX_MEMBERS
    with pytest.raises(BadRequest, match="members"):
        decode(encoded * (MAX_MEMBERS + 1), coding, LIMIT)


@pytest.mark.parametrize("coding", [b"compress", b"lz4", b"gzip, gzip, gzip", b"x", b"\xff"])
def test_a_coding_that_is_not_known_is_refused(coding: bytes):
    with pytest.raises(UnsupportedMedia, match="gzip, x-gzip, deflate, zstd, br"):
        decode(b"x", coding, LIMIT)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_is_cut_off_is_refused(coding: bytes):
    encoded = ENCODERS[coding](NOISE * 200)
    for end in (1, len(encoded) // 2, len(encoded) - 1):
        with pytest.raises(BadRequest, match=f"cannot decode the body as {coding.decode()}"):
            decode(encoded[:end], coding, LIMIT)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused_at_its_limit_and_costs_little(coding: bytes):
    encoded = ENCODERS[coding](bytes(60_000_000))

    def refuse() -> None:
        with pytest.raises(TooLarge, match="when it is decoded"):
            decode(encoded, coding, 1_000_000)

    assert reference_cost(refuse) < 10


@pytest.mark.parametrize("coding", CODINGS)
def test_a_large_body_is_decoded_in_linear_time(coding: bytes):
    body = NOISE * 5000
    encoded = ENCODERS[coding](body)
    assert len(decode(encoded, coding, LIMIT)) == len(body)
    assert reference_cost(lambda: decode(encoded, coding, LIMIT)) < 50


@given(st.binary(), st.sampled_from(CODINGS))
def test_whatever_bytes_come_they_are_decoded_or_refused(body: bytes, coding: bytes):
    with suppress(BadRequest, TooLarge):
        decode(body, coding, 1000)
