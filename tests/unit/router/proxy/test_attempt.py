import socket
from collections.abc import Iterator

import pytest

from svc.router.proxy.attempt import Attempt
from svc.router.proxy.upstream import UpstreamConnection
from svc.router.state import RouterState
from tests.unit.router.examples import Clock, request, state, target

A = target("a", "m")
INFERENCE = "/v1/chat/completions"


@pytest.fixture
def router() -> RouterState:
    return state(A, clock=Clock(), max_errors=3)


@pytest.fixture
def upstream() -> Iterator[UpstreamConnection]:
    ours, theirs = socket.socketpair()
    connection = UpstreamConnection(A, ours)
    connection.begin(head_only=False)
    yield connection
    connection.close()
    theirs.close()


def begin(router: RouterState) -> Attempt:
    router.balancer.begin_attempt(A)
    return Attempt(A, router.clock(), counts_for_budget=False)


def report(
    router: RouterState,
    attempt: Attempt,
    upstream: UpstreamConnection | None,
    method: bytes = b"POST",
    path: str = INFERENCE,
    interruption: str = "",
) -> None:
    head = request(method=method, uri=path.encode()).head
    attempt.report(router, head, upstream, interruption, router.clock())


def failures(router: RouterState) -> int:
    """Return the number of failures that count for ejection."""
    health = router.health.by_instance.get("a")
    return health.failures if health else 0


def answer(upstream: UpstreamConnection, status: int, body: bytes = b"ok", length: int = 2) -> None:
    upstream.feed(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, length, body))


@pytest.mark.parametrize(
    ("status", "errors", "counted"),
    [(200, 0, 0), (404, 0, 0), (429, 0, 0), (500, 1, 0), (502, 1, 1), (503, 1, 1), (504, 1, 1)],
)
def test_which_statuses_count_for_ejection(
    router: RouterState, upstream: UpstreamConnection, status: int, errors: int, counted: int
):
    attempt = begin(router)
    answer(upstream, status)
    report(router, attempt, upstream)
    assert router.statistics.instances["a"].errors == errors
    assert failures(router) == counted


@pytest.mark.parametrize(
    ("status", "path", "noted"),
    [(500, INFERENCE, True), (501, INFERENCE, False), (502, INFERENCE, False), (500, "/slots", False)],
)
def test_only_a_500_of_inference_is_noted(
    router: RouterState, upstream: UpstreamConnection, status: int, path: str, noted: bool
):
    attempt = begin(router)
    answer(upstream, status)
    report(router, attempt, upstream, path=path)
    assert ("a" in router.health.server_errors) is noted


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_client_cannot_cause_an_ejection_with_another_path(
    router: RouterState, upstream: UpstreamConnection, status: int
):
    attempt = begin(router)
    answer(upstream, status)
    report(router, attempt, upstream, b"GET", "/slots?fail_on_no_slot=1")
    assert router.statistics.instances["a"].errors == 1
    assert failures(router) == 0


@pytest.mark.parametrize(("on_any_path", "counted"), [(True, 1), (False, 0)])
def test_a_refused_connection_counts_on_every_path(router: RouterState, on_any_path: bool, counted: int):
    attempt = begin(router)
    attempt.fail(request(method=b"GET", uri=b"/health").head, "connection refused", on_any_path)
    report(router, attempt, None, b"GET", "/health")
    assert failures(router) == counted


@pytest.mark.parametrize("interruption", ["client", "stopping"])
def test_an_interruption_before_the_response_proves_nothing(router: RouterState, interruption: str):
    attempt = begin(router)
    attempt.fail(request().head, "it answered 502")
    report(router, attempt, None)
    assert failures(router) == 1
    report(router, begin(router), None, interruption=interruption)
    assert failures(router) == 1
    assert router.statistics.instances["a"].errors == 1


def test_a_begun_response_proves_that_the_instance_works_even_if_the_client_leaves(
    router: RouterState, upstream: UpstreamConnection
):
    attempt = begin(router)
    attempt.fail(request().head, "it answered 502")
    report(router, attempt, None)
    attempt = begin(router)
    answer(upstream, 200, b"o")
    report(router, attempt, upstream, interruption="client")
    assert failures(router) == 0


@pytest.mark.parametrize(
    ("method", "status", "body", "answered"),
    [(b"POST", 200, b"ok", 1), (b"GET", 200, b"ok", 0), (b"POST", 404, b"ok", 0), (b"POST", 200, b"o", 0)],
)
def test_only_a_whole_good_response_to_a_post_exercises_the_engine(
    router: RouterState, upstream: UpstreamConnection, method: bytes, status: int, body: bytes, answered: int
):
    attempt = begin(router)
    answer(upstream, status, body)
    report(router, attempt, upstream, method)
    assert router.statistics.instances["a"].answered == answered
