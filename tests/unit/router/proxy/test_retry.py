import pytest

from svc.router.http.upstream_error import AttemptOutcome
from svc.router.proxy.retry import MAX_ATTEMPTS, FailedAttempt, counts_for_budget, explanation, is_retryable, kills
from tests.unit.router.examples import target

U, R, K, B = AttemptOutcome.UNSENT, AttemptOutcome.UNREADY, AttemptOutcome.UNKNOWN, AttemptOutcome.BEGUN


def failures(*outcomes: AttemptOutcome, died: bool = False) -> tuple[FailedAttempt, ...]:
    return tuple(FailedAttempt(target(f"i{n}"), outcome, "why", died=died) for n, outcome in enumerate(outcomes))


@pytest.mark.parametrize(
    ("outcomes", "is_inference", "creates"),
    [
        ([U], True, True),
        ([U, U], True, True),
        ([R], True, True),
        ([R, R], True, True),
        ([U, R], True, True),
        ([K], True, False),
        ([U, K], True, False),
        ([K, U], True, True),
        ([K, R], True, True),
        ([K, K], False, False),
        ([B], False, False),
        ([U, B], False, False),
        ([U] * MAX_ATTEMPTS, False, False),
        ([R] * MAX_ATTEMPTS, False, False),
        ([K, U, U], False, False),
        ([U, U, K], False, False),
    ],
)
def test_what_is_repeated(outcomes: list[AttemptOutcome], is_inference: bool, creates: bool):
    """Of a request that only infers, and of one that creates something."""
    assert is_retryable(failures(*outcomes), is_inference=True) is is_inference
    assert is_retryable(failures(*outcomes), is_inference=False) is creates


@pytest.mark.parametrize(
    ("outcomes", "counts"), [([U], False), ([K], False), ([R], True), ([U, U], True), ([K, U], True), ([R, R], True)]
)
def test_only_the_first_repetition_after_a_death_is_outside_the_budget(outcomes: list[AttemptOutcome], counts: bool):
    assert counts_for_budget(failures(*outcomes)) is counts


def test_a_request_kills_where_two_instances_died_of_it():
    assert not kills(failures(K, K))
    assert not kills(failures(K, died=True))
    assert not kills((*failures(K, died=True), *failures(K, died=True)))  # one instance, twice
    assert kills(failures(K, K, died=True))


def test_the_explanation_has_everything_in_order():
    assert explanation(failures(K, U)) == "i0: why; then i1: why"
