import time

import pytest

from svc.base.similar_names import abbreviated_list, similar_names

KNOWN = ["demo-small", "demo-large", "Qwen/Qwen3-32B", "gpt-4o"]


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("demo-smal", ["demo-small"]),
        ("DEMO-LARGE", ["demo-large"]),
        ("qwen3-32b", ["Qwen/Qwen3-32B"]),
        ("/models/Qwen3-32B", ["Qwen/Qwen3-32B"]),
        ("gpt4o", ["gpt-4o"]),
        ("llama", []),
        ("", []),
    ],
)
def test_names_that_differ_slightly_are_similar(name, similar):
    assert similar_names(name, KNOWN) == similar


def test_of_many_names_with_the_same_tail_a_few_are_similar():
    known = [f"user{n}/m" for n in range(1000)]
    assert similar_names("x/M", known) == known[:4]
    assert similar_names("USER999/m", known)[0] == "user999/m"


def test_a_long_name_costs_no_comparison():
    known = [f"{'ab' * 30}{n:04}" for n in range(5000)]
    begun = time.process_time()
    similar_names("ab" * 32, known)
    reference = time.process_time() - begun  # the longest name that is compared, with the largest number of names
    begun = time.process_time()
    similar_names("ab" * 256, known)
    assert time.process_time() - begun < 2 * reference


def test_of_many_names_the_first_are_shown():
    assert abbreviated_list(["c", "a", "b"], 2) == "a, b and 1 more"
    assert abbreviated_list(["b", "a"], 2) == "a, b"
    assert abbreviated_list([], 2) == "none"
