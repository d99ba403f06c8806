"""Each client gets its own answer, whatever instances and other clients do on the connections that it shares."""

import time
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.integration.router.nonces import TIMEOUT, Request
from tests.integration.router.recorded import INTERIM, KINDS, SOUND
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.scripted import Instance, Network
from tests.integration.router.traffic import LATE, Traffic, late_bytes
from tests.waiting import wait_until

T = TypeVar("T")
CI_SECONDS = 10.0
LONG_SECONDS = 20 * 60.0
MAX_CLIENTS = 8
FLAGS = (
    "--allow-paths",
    "/v1/things/*",
    "--policy",
    "round_robin",
    "--max-errors",
    1_000_000,
    "--health-interval",
    100_000,
    "--first-byte-timeout",
    TIMEOUT,
    "--idle-timeout",
    TIMEOUT,
)


class Site:
    """A router before three scripted instances."""

    def __init__(self, router: Router, network: Network, instances: list[Instance]) -> None:
        self.router = router
        self.network = network
        self.instances = instances
        self.checked = self.sound = 0

    def traffic(self) -> Traffic:
        return Traffic(self.network, self.router, self.instances)

    def end(self, traffic: Traffic) -> None:
        traffic.close()
        self.checked += traffic.checked
        self.sound += traffic.sound


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    network = Network()
    attempts: dict = {}
    instances = [Instance(network, attempts) for _ in range(3)]
    services = [service(name, instance.port, "m") for name, instance in zip("abc", instances, strict=True)]
    path = static(tmp_path_factory.mktemp("nonce") / "static.json", services)
    with router("--static-services", path, *FLAGS) as running:
        yield Site(running, network, instances)
    for instance in instances:
        instance.close()
    network.close()


@pytest.fixture(autouse=True)
def unharmed(site: Site) -> Iterator[None]:
    """After all traffic, the router is the same process, counts nothing and has logged no exception."""
    worker = site.router.worker()
    yield
    wait_until(lambda: site.router.in_flight() == 0, description="the counts to be released")
    assert site.router.worker() == worker
    site.router.assert_no_exception()


@pytest.fixture
def traffic(site: Site) -> Iterator[Traffic]:
    made = site.traffic()
    yield made
    site.end(made)


FRAMED = ("length", "chunked", "events", "split events", "length too large")
METHODS = ("chat", "stream", "GET", "HEAD")


def exchange(traffic: Traffic, method: str, kind: str, size: int | str = "all", named: bool = False) -> None:
    """One request that is answered with this kind, and once more with a good answer where it is tried again."""
    client = traffic.connect()
    traffic.send(client, Request(method, False, True, named))
    client, attempt = traffic.unanswered()[-1]
    sending = traffic.answer(client, attempt, kind, size, named=named)
    if sending.recorded.end is None:
        traffic.end(attempt.connection, "close")
    elif sending.unsent:
        traffic.send_more(sending)
    traffic.answer_all(named)


@pytest.mark.parametrize("size", ["all", "end", "head"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["chat", "HEAD"])
def test_an_answer_leaves_nothing_to_the_next_request(traffic: Traffic, method: str, kind: str, size: str):
    for named in (True, False, False):  # the second one's head is remembered for the third
        exchange(traffic, method, kind, size, named)
        traffic.finish()
    assert traffic.checked >= 3


@pytest.mark.parametrize("kind", ["304 with body", "304 with length", "204 with body", "with body"])
def test_a_remembered_head_leaves_nothing_to_the_next_request(traffic: Traffic, kind: str):
    for known in ("304 with length 0", "204", "length"):
        for _ in range(3):
            exchange(traffic, "GET", known)
    for method in ("GET", "HEAD"):
        exchange(traffic, method, kind)
        traffic.finish()


@pytest.mark.parametrize("kind", LATE)
def test_late_bytes_answer_no_request(traffic: Traffic, kind: str):
    for _ in range(3):
        exchange(traffic, "chat", "length")
    for connection in traffic.idle_connections():
        traffic.send_late(connection, late_bytes(kind))
    traffic.finish()


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("size", ["all", "end", "head", 1])
@pytest.mark.parametrize("kind", FRAMED)
def test_a_cut_answer_is_visibly_cut(traffic: Traffic, kind: str, size: int | str, how: str):
    for method in ("chat", "HEAD"):
        client = traffic.connect()
        traffic.send(client, Request(method, False, True, True))
        client, attempt = traffic.unanswered()[-1]
        traffic.answer(client, attempt, kind, size, named=True)
        traffic.end(attempt.connection, how)
        traffic.answer_all(True)
    traffic.finish()


@pytest.mark.parametrize("end", [b"[DO", b"[DONE]", b"[DONE]\n"])
def test_a_stream_that_breaks_off_in_its_last_event_is_visibly_cut(traffic: Traffic, end: bytes):
    """A client drops an event without the empty line behind it (the HTML standard, 9.2.6)."""
    client = traffic.connect()
    traffic.send(client, Request("stream", False, True, True))
    ((client, attempt),) = traffic.unanswered()
    sending = traffic.answer(client, attempt, "events", "head", named=True)
    traffic.send_more(sending, sending.recorded.data.index(end) + len(end))
    traffic.end(attempt.connection, "close")
    traffic.finish()


@pytest.mark.parametrize("how", ["reset", "timeout"])
@pytest.mark.parametrize("size", ["all", "head"])
def test_an_answer_without_length_is_completed_by_an_orderly_end_alone(traffic: Traffic, size: str, how: str):
    client = traffic.connect()
    traffic.send(client, Request("chat", False, True, True))
    ((client, attempt),) = traffic.unanswered()
    traffic.answer(client, attempt, "until close", size, named=True)
    traffic.await_timeout(client) if how == "timeout" else traffic.end(attempt.connection, how)
    traffic.finish()


def test_an_answer_that_pauses_too_long_is_visibly_cut(traffic: Traffic):
    for kind in FRAMED:
        traffic.send(traffic.connect(), Request("chat", False, True, True))
        ((client, attempt),) = traffic.unanswered()
        traffic.answer(client, attempt, kind, "head", named=True)
    for client in traffic.waiting_clients():
        traffic.await_timeout(client)
    traffic.finish()


def test_an_answer_before_the_whole_request_is_read(traffic: Traffic):
    for kind in ("length", "503", "another after", "404"):
        traffic.send(traffic.connect(), Request("chat", False, True, True, large=True))
        ((client, attempt),) = traffic.unanswered()
        assert not attempt.whole
        traffic.answer(client, attempt, kind, named=True)
        traffic.answer_all(True)
        traffic.finish()


numbers = st.integers(0, 100)
sizes = st.sampled_from(["all", "all", "all", "end", "head", 1]) | st.integers(1, 400)
kinds = st.sampled_from([*KINDS])
endings = st.sampled_from(["close", "reset", "half-close"])
seldom = st.integers(0, 3).map(lambda number: number == 2)
very_rarely = st.integers(0, 199).map(lambda number: number == 117)
rarely = st.integers(0, 29).map(lambda number: number == 17)


class Machine(RuleBasedStateMachine):
    """Steps of clients and instances in any order; `number` chooses among what a step can be taken with.

    A step that cannot be taken is left out by the step itself: preconditions would make what
    Hypothesis draws depend on the router, which it forbids.
    """

    site: ClassVar[Site]

    def __init__(self) -> None:
        super().__init__()
        self.traffic = self.site.traffic()

    def teardown(self) -> None:
        try:
            self.traffic.finish()
            assert self.site.router.in_flight() == 0
        finally:
            self.site.end(self.traffic)

    @rule(
        number=numbers,
        method=st.sampled_from(METHODS),
        http10=rarely,
        keep_alive=st.integers(0, 5),
        named=st.booleans(),
        size=st.none() | st.none() | st.integers(1, 300),
        large=rarely,
    )
    def client_sends(self, number, method, http10, keep_alive, named, size, large):
        client = choose(number, self.traffic.idle_clients())
        if client is None or number % 3 == 0:
            if len(self.traffic.clients) == MAX_CLIENTS:
                return
            client = self.traffic.connect()
        large = large and method in ("chat", "stream")
        self.traffic.send(client, Request(method, http10, keep_alive > 0, named, large), size)

    @rule(number=numbers)
    def client_sends_the_rest(self, number):
        if client := choose(number, self.traffic.slow_clients()):
            self.traffic.send_rest(client)

    @rule(number=numbers, how=endings, chosen=seldom)
    def client_leaves(self, number, how, chosen):
        """Seldom: the router notices such an end by its sweep, a tenth of a second later."""
        client = choose(number, self.traffic.clients)
        if client and chosen:
            self.traffic.leave(client, how)

    @rule(number=numbers, chosen=very_rarely)
    def time_passes(self, number, chosen):
        client = choose(number, self.traffic.waiting_clients())
        if client and chosen:
            self.traffic.await_timeout(client)

    def _answer(self, number, kind, size, named, interim, padding):
        if pair := choose(number, self.traffic.unanswered()):
            self.traffic.answer(*pair, kind, size, named=named, interim=INTERIM[interim], padding=padding)

    answer = {
        "number": numbers,
        "size": sizes,
        "named": st.booleans(),
        "interim": st.sampled_from([0, 0, 0, 1, 2]),
        "padding": st.sampled_from([0, 0, 0, 300, 9000]),
    }

    @rule(kind=kinds, **answer)
    def instance_answers(self, **drawn):
        self._answer(**drawn)

    @rule(kind=st.sampled_from([*SOUND]), **answer)
    def instance_answers_soundly(self, **drawn):
        self._answer(**drawn)

    @rule(number=numbers, size=sizes)
    def instance_sends_more(self, number, size):
        if sending := choose(number, self.traffic.unfinished()):
            self.traffic.send_more(sending, sending.sent + size if isinstance(size, int) else size)

    @rule(number=numbers, kind=st.sampled_from(LATE))
    def instance_sends_late(self, number, kind):
        if connection := choose(number, self.traffic.idle_connections()):
            self.traffic.send_late(connection, late_bytes(kind))

    @rule(number=numbers, how=endings)
    def instance_ends_a_connection(self, number, how):
        if connection := choose(number, self.traffic.connections()):
            self.traffic.end(connection, how)

    @rule(number=numbers)
    def instance_reads_on(self, number):
        if connection := choose(number, [c for c in self.traffic.connections() if c.paused]):
            self.traffic.resume(connection)

    @invariant()
    def every_answer_is_its_own(self):
        self.traffic.check()


def choose(number: int, things: Sequence[T]) -> T | None:
    return things[number % len(things)] if things else None


def run(site: Site, seconds: float, examples: int, phases: tuple[Phase, ...]) -> None:
    """Run the machine again and again until the time is over."""

    class SiteMachine(Machine):
        pass

    SiteMachine.site = site
    deadline = time.monotonic() + seconds
    checked, sound = site.checked, site.sound
    while time.monotonic() < deadline:
        run_state_machine_as_test(
            SiteMachine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=60,
                deadline=None,
                database=None,
                phases=phases,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
    checked, sound = site.checked - checked, site.sound - sound
    print(f"{checked} answers of instances read, {sound} sound ones sent")
    assert checked > sound / 2  # or the router answers by errors alone


@pytest.mark.timeout(150)
def test_steps_in_any_order(site: Site):
    run(site, CI_SECONDS, 20, (Phase.generate,))


@pytest.mark.long
@pytest.mark.timeout(LONG_SECONDS + 600)
def test_steps_in_any_order_for_long(site: Site):
    run(site, LONG_SECONDS, 200, (Phase.generate, Phase.shrink))
