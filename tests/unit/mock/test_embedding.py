"""Embeddings."""

import base64
import math
import struct

import pytest

from svc.mock.embedding import DIMENSIONS, body, vector


@pytest.mark.parametrize("dimensions", [1, 3, 4096])
def test_a_vector_has_length_one(dimensions):
    made = vector("hello", dimensions)
    assert len(made) == dimensions
    assert math.isclose(math.hypot(*made), 1)


def test_a_text_has_one_vector_and_another_text_another():
    assert vector("a", 8) == vector("a", 8) != vector("b", 8)


def test_base64_holds_the_same_floats():
    plain = body(["x"], "a", None, "float")["data"][0]["embedding"]
    packed = base64.b64decode(body(["x"], "a", None, "base64")["data"][0]["embedding"])
    assert struct.unpack(f"<{DIMENSIONS}f", packed) == pytest.approx(plain)


def test_each_text_has_its_place_and_all_are_paid():
    made = body(["abcd", "abcdefgh"], "a", 4, None)
    assert [item["index"] for item in made["data"]] == [0, 1]
    assert made["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
