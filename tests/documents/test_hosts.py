"""docs/DISTRIBUTED_DEPLOYMENT_README.md, walked on machines made of namespaces; their links are cut and healed."""

import json
import os
import select
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.documents.blocks import blocks
from tests.documents.checkout import checkout
from tests.documents.fleet import ADDRESSES, DOCUMENT, INSTANCES, ROUTER, Fleet
from tests.documents.machine import missing
from tests.integration.registry.hosts import missing as no_network
from tests.integration.registry.writers import Workers
from tests.waiting import wait_until

DETECTED = 30.0  # seconds until a host that is gone is known as such; the document's intervals make it some 10
BACK = 15.0  # seconds after its link has healed
PORTS = (22, 8000, 8001, 8100, 8101, 18000)
MADE = ["On every machine", "The control host", "An instance host", "The first answer", "What has to be reachable"]
LATER = [
    "The tokens",
    "A machine more",
    "A machine less",
    "Restarting and changing instances",
    "A new version",
    "Backup",
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    """A control host, two instance hosts and a third that is still empty, as the document makes them."""
    reason = missing() or no_network() or ("" if shutil.which("nft") else "no `nft` (Debian: apt install nftables)")
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with ExitStack() as stack:
        made = Fleet(tmp_path_factory.mktemp("hosts"), checkout(tmp_path_factory.mktemp("checkout")), stack)
        for section in MADE:
            made.walk(section, "control", "first", "second")
        yield made


@pytest.fixture
def served(fleet) -> Iterator[list[tuple[float, str, float]]]:
    """Clients ask all the time; when each was answered, by whom, after how long. A request that fails is an error."""
    answers: list[tuple[float, str, float]] = []

    def ask() -> None:
        begun = time.monotonic()
        answer = fleet.ask(max_tokens=1)
        assert answer.status_code == 200, answer.text
        answers.append((time.monotonic(), answer.headers["x-mock-name"], time.monotonic() - begun))

    wait_until(fleet.both, BACK, "both hosts are there")
    with Workers(pause=0.05).at_work([ask, ask]):
        yield answers


@contextmanager
def one_way(fleet: Fleet, role: str) -> Iterator[None]:
    """What this machine sends to the control host is lost; what comes from there arrives."""
    drop = "nft 'add table inet lost; add chain inet lost out { type filter hook output priority 0; };"
    fleet.machines[role].do(f"{drop} add rule inet lost out ip daddr 10.0.0.1 drop'")
    yield
    fleet.machines[role].do("nft delete table inet lost")


@contextmanager
def cut(fleet: Fleet, role: str) -> Iterator[None]:
    fleet.hosts[role].cut()
    yield
    fleet.hosts[role].heal()


def test_three_hosts_answer_and_one_that_loses_its_link_returns(fleet, served):
    lost(fleet, served, cut)


@pytest.mark.long
def test_three_hosts_and_one_that_hears_but_is_not_heard(fleet, served):
    lost(fleet, served, one_way)


def lost(fleet: Fleet, served: list, losing) -> None:
    """Nothing fails but the streams that had begun there; it is known as gone; and back by itself."""
    wait_until(lambda: {name for _, name, _ in served} == {"qwen-a", "qwen-b"}, description="both answer")
    streams = begun(fleet, "qwen-a")
    with losing(fleet, "first"):
        wait_until(lambda: fleet.routed() == {"qwen-b-server"}, DETECTED, "the router ejects it")
        ejected = time.monotonic()
        ends = [rest[-2:] for rest in streams.result(60)]
        assert all('"error"' in error and done == "data: [DONE]" for error, done in ends), ends
        wait_until(lambda: fleet.registered() == {"qwen-b", "qwen-b-server"}, 60, "the registry marks it")
        wait_until(lambda: len([1 for at, _, _ in served if at > ejected]) > 50, 20, "requests are served")
        late = [(name, took) for at, name, took in served if at - took > ejected]
        assert {name for name, _ in late} == {"qwen-b"}
        assert statistics.median(took for _, took in late) < 1, "nobody waits for what is gone, but a trial request"
    healed = time.monotonic()
    wait_until(fleet.both, BACK, "it is back, without a hand")
    wait_until(lambda: any(name == "qwen-a" for at, name, _ in served if at > healed), description="it answers")
    print(f"back after {time.monotonic() - healed:.1f} s")


def begun(fleet: Fleet, name: str):
    """A stream that this instance has begun, and will be at for minutes; its lines, when it has ended."""
    host = fleet.hosts["control"]
    host.ask("POST", f"http://{ADDRESSES['first']}:8100/mock/behave", json={"token_delay": 0.5})
    while (answer := fleet.ask(stream=True, max_tokens=500)).headers["x-mock-name"] != name:
        answer.close()
    lines = answer.iter_lines(decode_unicode=True)
    assert json.loads(next(lines).removeprefix("data: "))
    host.ask("POST", f"http://{ADDRESSES['first']}:8100/mock/behave", json={"token_delay": None})
    return ThreadPoolExecutor(1).submit(lambda: [[line for line in lines if line]])


def test_the_firewalls_let_through_what_the_table_says_and_nothing_else(fleet):
    table = {
        "client": {("control", 8000)},
        "first": {("control", 8000), ("control", 18000)},
        "second": {("control", 8000), ("control", 18000)},
        "control": {("first", 8100), ("first", 8101), ("second", 8100), ("second", 8101)},
    }
    with ThreadPoolExecutor() as side_by_side:
        found = dict(zip(table, side_by_side.map(lambda role: reached(fleet, role), table), strict=True))
    assert found == table


def reached(fleet: Fleet, role: str) -> set[tuple[str, int]]:
    """Where a connection from this host is accepted, on the others."""
    places = [(other, port) for other in ("control", "first", "second") if other != role for port in PORTS]

    def look() -> set[tuple[str, int]]:
        with ExitStack() as stack:
            waiting = {}
            for place in places:
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex((ADDRESSES[place[0]], place[1]))
                waiting[sock] = place
            found, deadline = set(), time.monotonic() + 2
            while waiting and time.monotonic() < deadline:
                for sock in select.select([], list(waiting), [], 0.2)[1]:
                    place = waiting.pop(sock)
                    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        found.add(place)
            return found

    return fleet.hosts[role].inside(look)


def test_a_machine_more_and_a_machine_less(fleet):
    fleet.walk("On every machine", "third")
    fleet.walk("A machine more", "control", "third")
    fleet.walk("An instance host", "third")
    wait_until(lambda: "qwen-c-server" in fleet.routed(), BACK, "it gets requests")
    fleet.walk("What has to be reachable", "third")
    wait_until(lambda: fleet.ask(max_tokens=1).headers["x-mock-name"] == "qwen-c", description="it answers")
    fleet.walk("A machine less", "control")
    assert "qwen-c-server" not in fleet.routed()
    fleet.walk("A machine less", "third")
    assert not {"qwen-c", "qwen-c-server"} & fleet.registered()


def test_the_token_is_replaced_without_a_restart(fleet, served):
    fleet.walk("The tokens", "control")
    for role in ("first", "second"):
        fleet.copy_token(role)
    fleet.machines["first"].do("cd /var/lib/infinilm; runuser -u infinilm -- supervisorctl restart qwen-a:babysitter")
    wait_until(fleet.both, BACK, "with the new token it is heard")


def test_instances_are_restarted_while_requests_are_served(fleet, served):
    for role in ("first", "second"):
        fleet.walk("Restarting and changing instances", role)
    wait_until(fleet.both, BACK, "all are there again")


def test_a_new_version_is_taken_up_while_requests_are_served(fleet, served):
    fleet.walk("A new version", "control", "first", "second")
    wait_until(fleet.both, BACK, "all are there again")


def test_a_backup_is_made_and_put_back(fleet, served):
    control = fleet.machines["control"]
    control.do("cd /var/lib/infinilm; svc drain qwen-b")
    lines = blocks(DOCUMENT)
    made, back = (block for block in lines if block.section == "Backup")
    control.run(made)
    control.do("svc undrain qwen-b")
    (control.root() / "var/lib/infinilm/config/svc.toml").unlink()
    control.run(back)
    wait_until(lambda: "qwen-b-server" not in fleet.routed(), BACK, "the mark is back")
    control.do("svc check; svc undrain qwen-b")
    wait_until(fleet.both, BACK, "all are there again")


def test_every_section_of_the_document_is_walked():
    mine = [block for block in blocks(DOCUMENT) if "run by" in block.notes]
    assert {block.section for block in mine} == {*MADE, *LATER}
    assert all(set(block.notes.get("on", "control").split()) <= {"control", "instances", *INSTANCES} for block in mine)
    assert all("/hosts" in block.notes["run by"] or block.notes["run by"].endswith("test_hosts.py") for block in mine)
    assert ROUTER in "".join(block.text for block in mine)
