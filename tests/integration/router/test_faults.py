"""What users of other routers suffered, each fault a test: numbered as in our notes on those routers.

1 clients that left, 2 streams, 3 counts, 4 who is blamed, 5 what is known of instances, 6 capacity, 7 affinity.
"""

import select
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from tests.client_libraries import openai
from tests.integration.router.client import post
from tests.integration.router.disconnects import closes, half_closes
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.listed import Gate, Listed, at, listed
from tests.integration.router.process_usage import descriptors_in_use, private_memory_kb
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

NOTICED = 0.3  # seconds in which the instance is to hear that its client left


@pytest.fixture(scope="module")
def site() -> Iterator[Listed]:
    with listed(
        "--policy", "round_robin", "--health-interval", 0.2, "--first-byte-timeout", 30, "--queue-size", 500
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def as_new(site: Listed) -> Iterator[None]:
    """The router has not known any of these names; and nothing is left in flight."""
    site.tell()
    yield
    wait_until(lambda: site.router.in_flight() == 0, description="every count to be released")


def stats(site: Listed) -> dict[str, int]:
    return {s["name"]: s["in_flight"] for s in site.router.get("/stats").json()["services"]}


def side_by_side(count: int, work) -> None:  # noqa: ANN001
    """Does `work(n)` for each n, eight at a time."""

    def some(first: int) -> None:
        for n in range(first, count, 8):
            work(n)

    threads = [threading.Thread(target=some, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Endless:
    """Begins a stream, falls silent, and takes the time when the router ends the connection."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.last = 0.0

    def __call__(self, peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        self.begun.release()
        assert peer.sock.recv(1) == b""
        self.last = time.monotonic()
        self.ended.release()
        return False


# 1. Clients that left.


@pytest.mark.parametrize("leaves", [closes, half_closes])
def test_fault_1_the_client_is_gone_and_generation_goes_on(site: Listed, a: Instance, leaves):
    a.play(endless := Endless())
    site.tell(at(a, "a", "m"))
    times = []
    for _ in range(5):
        client = site.ask("m")
        client.until(b"data: 1\n\n")
        left = time.monotonic()
        leaves(client)
        assert endless.ended.acquire(timeout=5)
        times.append(endless.last - left)
        client.sock.close()
    assert statistics.median(times) < NOTICED
    assert max(times) < 2 * NOTICED, "also on a busy machine"


def vanish(site: Listed, n: int) -> None:
    with site.ask("m", n=n) as client:
        if n % 3:
            select.select([client.sock], [], [], n % 50 / 1000)


def streams(peer: Peer, received: ReceivedRequest) -> None:
    peer.send(CHUNKED)
    for n in range(10):
        peer.send(chunk(b"data: %d\n\n" % n))
        threading.Event().wait(0.005)
    peer.send(b"0\r\n\r\n")


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.long)])
def test_fault_1_aborted_streams_leak_connections(site: Listed, a: Instance, count: int):
    a.play(streams)
    site.tell(at(a, "a", "m"))
    before = descriptors_in_use(site.router)
    side_by_side(count, lambda n: vanish(site, n))
    wait_until(lambda: site.router.in_flight() == 0)
    wait_until(lambda: descriptors_in_use(site.router) <= before + 8, description="connections to be closed")
    assert stats(site) == {"a": 0}
    assert site.answer("m").status == 200


# 2. Streams.


def test_fault_2_streams_are_buffered(site: Listed, a: Instance):
    go = threading.Event()

    def waits(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        assert go.wait(10)
        peer.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    a.play(waits)
    site.tell(at(a, "a", "m"))
    with site.ask("m") as client:
        client.head()
        assert client.chunk() == b"data: 1\n\n", "before the second is made"
        go.set()
        assert client.chunk() == b"data: 2\n\n"


def test_fault_2_an_error_inside_a_stream_reads_as_an_empty_success(site: Listed, a: Instance):
    told = b'data: {"error": {"message": "out of memory", "type": "server_error", "code": 500}}\n\n'
    a.play(lambda peer, received: peer.send(CHUNKED + chunk(told) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"))
    site.tell(at(a, "a", "m"))
    assert site.answer("m").body == told + b"data: [DONE]\n\n", "byte for byte"
    client = openai.OpenAI(base_url=f"{site.router.url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIError, match="out of memory"):
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True))


def test_fault_2_a_cut_stream_reads_as_a_success(site: Listed, a: Instance):
    def cut(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        return False

    a.play(cut)
    site.tell(at(a, "a", "m"))
    assert last_error(site.answer("m").body)["code"] == "bad_gateway"


# 3. Counts.


def test_fault_3_counts_leak_on_abort(site: Listed, a: Instance, b: Instance):
    """And one node got all the traffic: here both have their half after it."""
    a.play(Endless())
    b.play(streams)
    site.tell(at(a, "a", "m", "only a"), at(b, "b", "m"))
    for n in range(30):
        with site.ask("only a") as client:
            if n % 2:
                client.head()
    wait_until(lambda: stats(site) == {"a": 0, "b": 0}, description="the counts to be released")
    a.play()
    b.play()
    for _ in range(20):
        site.answer("m")
    assert (len(a.received), len(b.received)) == (10, 10)


@pytest.mark.parametrize("status", [200, 400, 500, 502, 503])
def test_fault_3_counts_fall_on_success_only(site: Listed, a: Instance, status: int):
    a.play(lambda peer, received: peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    site.tell(at(a, "a", "m"))
    for _ in range(5):
        assert site.answer("m").status == status
    assert stats(site) == {"a": 0}


def test_fault_3_counts_are_negative_after_an_instance_left_and_came_back(site: Listed, a: Instance, b: Instance):
    gate = Gate()
    a.play(gate)
    mine, other = at(a, "a", "m"), at(b, "b", "x")
    site.tell(mine, other)
    first = [site.ask("m") for _ in range(3)]
    wait_until(lambda: gate.now == 3)
    site.tell(other)
    assert site.router.in_flight() >= 0
    site.tell(mine, other)
    assert stats(site) == {"a": 3, "b": 0}, "they are still at work"
    second = [site.ask("m") for _ in range(2)]
    wait_until(lambda: gate.now == 5)
    assert stats(site) == {"a": 5, "b": 0}
    site.tell(other)
    gate.let(5)
    for client in (*first, *second):
        with client:
            assert client.answer().status == 200
    site.tell(mine, other)
    assert stats(site) == {"a": 0, "b": 0}


def test_fault_3_health_checks_reset_counts(site: Listed, a: Instance):
    a.play(Endless())
    site.tell(at(a, "a", "m"))
    clients = [site.ask("m") for _ in range(4)]
    for client in clients:
        client.head()
    for sick in (True, False):
        a.sick = sick
        wait_until(
            lambda sick=sick: site.router.service("a")["healthy"] is not sick, description="the checks to see it"
        )
        assert stats(site) == {"a": 4}
    for client in clients:
        client.sock.close()
    wait_until(lambda: stats(site) == {"a": 0})


def test_fault_3_maps_grow_for_ever(site: Listed, a: Instance):
    """Names that clients invent leave nothing behind: models, sessions, ids, paths."""
    a.play(lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    site.tell(at(a, "a", "m"))

    def invent(start: int) -> None:
        with site.router.client() as client:
            for n in range(start, start + 2000):
                name = b"%d-" % n + b"x" * 400
                sent = (b"X-Session-ID: " + name, b"X-Request-ID: " + name, b"User-Agent: " + name)
                client.send(post({"model": "m"}, *sent, path=b"/v1/responses/" + name + b"/cancel"))
                assert client.answer().status == 200
                client.send(post({"model": name.decode()}, *sent))
                assert client.answer().status == 503
        a.received = []

    invent(0)
    lines, before = len(site.router.get("/metrics").text), private_memory_kb(site.router)
    invent(2000)
    assert len(site.router.get("/metrics").text) < lines + 500
    assert private_memory_kb(site.router) - before < 300, "kilobytes; the names alone are 800"


# 4. Who is blamed.


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500])
def test_fault_4_a_bad_client_takes_the_service_down(site: Listed, a: Instance, b: Instance, status: int):
    def script(peer: Peer, received: ReceivedRequest) -> None:
        bad = b"bad" in received.body
        peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % (status if bad else 200))

    a.play(script)
    b.play(script)
    site.tell(at(a, "a", "m"), at(b, "b", "m"))
    told = [site.answer("m", bad=True).status for _ in range(30)]
    assert told == [status] * 30
    assert [site.answer("m").status for _ in range(10)] == [200] * 10
    assert site.router.get("/health").json()["healthy_services"] == "2/2"


# 5. What is known of instances.


def test_fault_5_a_missed_delete_is_never_noticed(site: Listed, a: Instance, b: Instance):
    """It is deleted while the registry is away from us: the next list heals it, whatever the index says."""
    site.tell(at(a, "a", "m"), at(b, "b", "m"))
    site.registry.status = 500
    requests = site.registry.requests
    wait_until(lambda: site.registry.requests > requests, description="the router to ask in vain")
    site.registry.services = [at(b, "b", "m")]
    assert stats(site) == {"a": 0, "b": 0}, "the last good table holds"
    site.registry.status = 200
    wait_until(lambda: stats(site) == {"b": 0}, timeout=5, description="the next list to be taken")
    assert [site.answer("m").status for _ in range(4)] == [200] * 4
    assert (len(a.received), len(b.received)) == (0, 4)


def test_fault_5_health_is_green_while_the_engine_hangs(a: Instance, b: Instance):
    """Its checks pass, and no request is answered: the requests decide."""
    a.play(lambda peer, received: None)
    with listed("--first-byte-timeout", 0.3, "--health-interval", 0.1) as own:
        own.tell(at(a, "a", "m", "only a"), at(b, "b", "m"))
        assert [own.answer("only a").status for _ in range(3)] == [504] * 3
        told = own.router.service("a")
        assert told["ejected"]
        assert not told["healthy"]
        assert [own.answer("m").status for _ in range(10)] == [200] * 10


def test_fault_5_one_hung_backend_stalls_all(site: Listed, a: Instance, b: Instance):
    a.play(Gate())
    site.tell(at(a, "a", "hung"), at(b, "b", "m"))
    clients = [site.ask("hung") for _ in range(50)]
    wait_until(lambda: stats(site)["a"] == 50)
    began = time.monotonic()
    for _ in range(20):
        assert site.answer("m").status == 200
    assert time.monotonic() - began < 1
    for client in clients:
        client.sock.close()
    a.script.let(100)  # type: ignore[attr-defined]


def test_fault_5_a_worker_back_on_the_same_address_never_rejoins(site: Listed, b: Instance):
    first = Instance()
    mine, other = at(first, "a", "m"), at(b, "b", "m")
    site.tell(mine, other)
    first.close()
    for _ in range(8):
        assert site.answer("m").status == 200
    wait_until(lambda: not site.router.service("a")["healthy"], description="the dead one to be out")
    site.tell({**mine, "status": "starting"}, other)
    again = Instance(first.port)
    site.tell(mine, other)
    assert site.router.service("a")["healthy"], "at once, whatever it was before"
    for _ in range(10):
        assert site.answer("m").status == 200
    assert len(again.received) == 5
    again.close()


# 6. Capacity.


def test_fault_6_requests_fail_while_a_model_restarts(site: Listed, a: Instance):
    site.tell(at(a, "a", "m", status="starting"))
    clients = [site.ask("m") for _ in range(20)]
    wait_until(lambda: site.waiting() == 20)
    site.tell(at(a, "a", "m"))
    for client in clients:
        with client:
            assert client.answer().status == 200


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_fault_6_a_model_that_is_known_but_down_is_404(site: Listed, a: Instance, status: str):
    site.tell(at(a, "a", "m", status=status))
    answer = site.answer("m")
    assert (answer.status, answer.error()["code"]) == (503, "service_unavailable")


def test_fault_6_a_cap_on_connections_throttles(site: Listed, a: Instance):
    """One instance gets as many at once as come."""
    gate = Gate()
    a.play(gate)
    site.tell(at(a, "a", "m"))
    clients = [site.ask("m") for _ in range(150)]
    wait_until(lambda: gate.now == 150, description="all of them to be at the instance at once")
    gate.let(150)
    for client in clients:
        with client:
            assert client.answer().status == 200


# 7. Affinity.


@pytest.fixture(scope="module")
def pair(instances: list[Instance], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, Router]]:
    """Two routers that know nothing of each other, in front of the same three instances."""
    path = static(
        tmp_path_factory.mktemp("pair") / "static.json",
        [service(name, made.port, "m") for name, made in zip("abc", instances, strict=True)],
    )
    flags = ("--static-services", path, "--policy", "prefix")
    with router(*flags) as one, router(*flags) as other:
        yield one, other


def conversation(n: int, turn: int = 0) -> bytes:
    text = f"system prompt {n} " + "x" * 1024
    return post(
        {"model": "m", "messages": [{"role": "system", "content": text}, {"role": "user", "content": f"{turn}"}]}
    )


def takers(own: Router, instances: list[Instance], turn: int, count: int = 90) -> list[int]:
    """Which instance gets each conversation."""
    for instance in instances:
        instance.play()
    found = {}
    with own.client() as client:
        for n in range(count):
            assert client.send(conversation(n, turn)).answer().status == 200
            (found[n],) = [i for i, instance in enumerate(instances) if len(instance.received) > 0]
            for instance in instances:
                instance.received = []
    return list(found.values())


def test_fault_7_affinity_is_lost_when_a_router_fails_over(pair: tuple[Router, Router], instances: list[Instance]):
    one, other = pair
    assert takers(one, instances, 0) == takers(other, instances, 1)


def test_fault_7_all_that_is_new_goes_to_one_worker(pair: tuple[Router, Router], instances: list[Instance]):
    found = takers(pair[0], instances, 0)
    assert min(found.count(n) for n in range(3)) >= 15, "of 90, about 30 each"


def test_fault_7_a_hot_prefix_overloads_one_worker(pair: tuple[Router, Router], instances: list[Instance]):
    """All ask the same: nobody has more than 1.25 times its share of what is in flight."""
    gates = [Gate() for _ in instances]
    for instance, gate in zip(instances, gates, strict=True):
        instance.play(gate)
    clients = []
    for n in range(30):
        clients.append(pair[0].client().send(conversation(1, n)))
        wait_until(lambda n=n: sum(g.now for g in gates) == n + 1, interval=0.005)
    assert max(gate.now for gate in gates) <= 13
    assert min(gate.now for gate in gates) >= 4
    for gate in gates:
        gate.let(100)
    for client in clients:
        with client:
            assert client.answer().status == 200


def test_fault_7_a_tree_of_prefixes_grows(pair: tuple[Router, Router], instances: list[Instance]):
    for instance in instances:
        instance.play()

    def new(start: int) -> None:
        with pair[0].client() as client:
            for n in range(start, start + 1500):
                assert client.send(conversation(n)).answer().status == 200
                if n % 100 == 0:
                    for instance in instances:
                        instance.received = []

    new(1000)
    before = private_memory_kb(pair[0])
    new(5000)
    assert private_memory_kb(pair[0]) - before < 500, "kilobytes; the prompts alone are 1500"
