"""docs/DISTRIBUTED_DEPLOYMENT_README.md, run on machines made of namespaces, whose links are cut and restored."""

import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.documents.blocks import blocks
from tests.documents.checkout import checkout
from tests.documents.fleet import (
    ADDRESSES,
    DOCUMENT,
    INSTANCES,
    OPERATION_SECTIONS,
    RECOVERY_TIMEOUT_SECONDS,
    ROUTER,
    SETUP_SECTIONS,
    TESTS,
    Fleet,
    require_machines,
)
from tests.waiting import wait_until

DETECTION_TIMEOUT_SECONDS = 30.0  # of a lost host; the document's intervals detect it in about 10 s


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    """Yield a control host, two instance hosts and a third that is still empty, installed as in the document."""
    require_machines()
    with ExitStack() as stack:
        machines = Fleet(tmp_path_factory.mktemp("hosts"), checkout(tmp_path_factory.mktemp("checkout")), stack)
        for section in SETUP_SECTIONS:
            machines.run_section(section, "control", "first", "second")
        yield machines


@pytest.fixture
def served(fleet) -> Iterator[list[tuple[float, str, float]]]:
    with fleet.requests_served() as answers:
        yield answers


@contextmanager
def one_way(fleet: Fleet, role: str) -> Iterator[None]:
    """Drop the packets from this machine to the control host; those from there arrive."""
    drop = "nft 'add table inet lost; add chain inet lost out { type filter hook output priority 0; };"
    fleet.machines[role].do(f"{drop} add rule inet lost out ip daddr 10.0.0.1 drop'")
    yield
    fleet.machines[role].do("nft delete table inet lost")


@contextmanager
def cut(fleet: Fleet, role: str) -> Iterator[None]:
    fleet.hosts[role].cut()
    yield
    fleet.hosts[role].heal()


def test_a_host_that_loses_its_link_is_ejected_and_returns(fleet, served):
    lose_a_host(fleet, served, cut)


@pytest.mark.long
def test_a_host_that_receives_but_cannot_send_is_ejected_and_returns(fleet, served):
    lose_a_host(fleet, served, one_way)


def lose_a_host(fleet: Fleet, served: list, losing) -> None:
    """The streams of the lost host go on at the other; the host is ejected and marked, and returns by itself."""
    wait_until(lambda: {name for _, name, _ in served} == {"qwen-a", "qwen-b"}, description="both answer")
    streams = start_stream(fleet, "qwen-a")
    with losing(fleet, "first"):
        wait_until(
            lambda: fleet.routed_instances() == {"qwen-b-server"}, DETECTION_TIMEOUT_SECONDS, "the router ejects it"
        )
        ejected = time.monotonic()
        for last, done in [rest[-2:] for rest in streams.result(60)]:
            assert '"finish_reason":"' in last, last
            assert done == "data: [DONE]"
        wait_until(lambda: fleet.healthy_services() == {"qwen-b", "qwen-b-server"}, 60, "the registry marks it")
        wait_until(lambda: len([1 for at, _, _ in served if at > ejected]) > 50, 20, "requests are served")
        late = [(name, took) for at, name, took in served if at - took > ejected]
        assert {name for name, _ in late} == {"qwen-b"}
        assert statistics.median(took for _, took in late) < 1, "only trial requests wait for the lost host"
    healed = time.monotonic()
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "it returns by itself")
    wait_until(lambda: any(name == "qwen-a" for at, name, _ in served if at > healed), description="it answers")
    print(f"back after {time.monotonic() - healed:.1f} s")


def start_stream(fleet: Fleet, name: str):
    """Start a stream of this instance that lasts for minutes; return the future of its lines."""
    host = fleet.hosts["control"]
    host.ask("POST", f"http://{ADDRESSES['first']}:8100/mock/behave", json={"token_delay": 0.5, "tokens": 500})
    while (answer := fleet.send_chat(stream=True, max_tokens=500)).headers["x-mock-name"] != name:
        answer.close()
    lines = answer.iter_lines(decode_unicode=True)
    assert json.loads(next(lines).removeprefix("data: "))
    host.ask("POST", f"http://{ADDRESSES['first']}:8100/mock/behave", json={"token_delay": None, "tokens": None})
    return ThreadPoolExecutor(1).submit(lambda: [[line for line in lines if line]])


def test_the_firewalls_accept_only_the_ports_of_the_table(fleet):
    table = {
        "client": {("control", 8000)},
        "first": {("control", 8000), ("control", 18000)},
        "second": {("control", 8000), ("control", 18000)},
        "control": {("first", 8100), ("first", 8101), ("second", 8100), ("second", 8101)},
    }
    with ThreadPoolExecutor() as executor:
        reachable = dict(zip(table, executor.map(fleet.reachable_ports, table), strict=True))
    assert reachable == table


def test_a_machine_is_added_and_removed(fleet):
    fleet.run_section("On every machine", "third")
    fleet.run_section("A machine more", "control", "third")
    fleet.run_section("An instance host", "third")
    wait_until(lambda: "qwen-c-server" in fleet.routed_instances(), RECOVERY_TIMEOUT_SECONDS, "it gets requests")
    fleet.run_section("What has to be reachable", "third")
    wait_until(lambda: fleet.send_chat(max_tokens=1).headers["x-mock-name"] == "qwen-c", description="it answers")
    fleet.run_section("A machine less", "control")
    assert "qwen-c-server" not in fleet.routed_instances()
    fleet.run_section("A machine less", "third")
    assert not {"qwen-c", "qwen-c-server"} & fleet.healthy_services()


def test_the_token_is_replaced_without_a_restart(fleet, served):
    fleet.run_section("The tokens", "control")
    for role in ("first", "second"):
        fleet.copy_token(role)
    fleet.machines["first"].do("cd /var/lib/infinilm; runuser -u infinilm -- supervisorctl restart qwen-a:babysitter")
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "the registry accepts the new token")


def test_instances_are_restarted_while_requests_are_served(fleet, served):
    for role in ("first", "second"):
        fleet.run_section("Restarting and changing instances", role)
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_a_reload_changes_an_instance_and_finishes_a_rollout_that_was_killed(fleet, served):
    """`svc apply` without options in a bare environment is what `systemctl reload` runs."""
    first = fleet.machines["first"]
    apply = "runuser -u infinilm -- env -i PATH=$PATH /opt/infinilm-svc/bin/svc apply"
    streams = start_stream(fleet, "qwen-a")
    first.do(f"""cd /var/lib/infinilm
        sed -i 's/models = .*/models = ["qwen", "extra"]/' config/qwen-a.toml
        setsid {apply} > /tmp/apply.log 2>&1 &
        echo $! > /tmp/apply.pid""")
    wait_until(lambda: fleet.routed_instances() == {"qwen-b-server"}, 30, "the rollout drains the instance")
    first.do("""kill -KILL -- -$(cat /tmp/apply.pid)
        cd /var/lib/infinilm
        runuser -u infinilm -- svc doctor --json > /tmp/doctor.json || true""")
    report = json.loads((first.root() / "tmp/doctor.json").read_bytes())
    [finding] = [finding for finding in findings_of(report["findings"]) if finding["key"] == "rollout"]
    assert finding["fix"].endswith("svc apply")
    assert fleet.routed_instances() == {"qwen-b-server"}, "the killed rollout left it drained"
    first.do(f"cd /var/lib/infinilm; {apply} --drain-timeout 1; test ! -e var/rollout.json")
    assert streams.result(60)
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
    answer = fleet.send_chat(model="extra", max_tokens=1)
    assert (answer.status_code, answer.headers["x-mock-name"]) == (200, "qwen-a")
    assert "nothing to do" in first.do(f"cd /var/lib/infinilm; {apply}")


def findings_of(findings: list) -> Iterator[dict]:
    """Yield the findings of the doctor, each followed by its consequences."""
    for finding in findings:
        yield finding
        yield from findings_of(finding["consequences"])


def test_a_new_version_is_installed_while_requests_are_served(fleet, served):
    fleet.run_section("A new version", "control", "first", "second")
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_a_backup_is_made_and_restored(fleet, served):
    control = fleet.machines["control"]
    control.do("cd /var/lib/infinilm; svc drain qwen-b")
    backup, restore, copy = (block for block in blocks(DOCUMENT) if block.section == "Backup")
    control.run(backup)
    fleet.run(copy, "second")
    control.do("svc undrain qwen-b")
    (control.root() / "var/lib/infinilm/config/svc.toml").unlink()
    control.run(restore)
    wait_until(lambda: "qwen-b-server" not in fleet.routed_instances(), RECOVERY_TIMEOUT_SECONDS, "the mark is back")
    control.do("svc check; svc undrain qwen-b")
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_a_lost_control_host_is_replaced_and_has_the_drain_marks_of_the_backup(fleet):
    """The backup that the test before has made, with qwen-b drained."""
    fleet.replace_machine("control")
    for section in ("On every machine", "What has to be reachable", "A lost machine"):
        fleet.run_section(section, "control")
    wait_until(lambda: fleet.routed_instances() == {"qwen-a-server"}, RECOVERY_TIMEOUT_SECONDS, "it is drained again")
    assert fleet.send_chat(max_tokens=1).headers["x-mock-name"] == "qwen-a"
    fleet.machines["control"].do("svc undrain qwen-b")
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_every_section_of_the_document_is_run():
    own_blocks = [block for block in blocks(DOCUMENT) if "run by" in block.notes]
    assert {block.section for block in own_blocks} == {*SETUP_SECTIONS, *OPERATION_SECTIONS, "Several registries"}
    roles = {"control", "instances", *INSTANCES, "other", "redis"}
    assert all(set(block.notes.get("on", "control").split()) <= roles for block in own_blocks)
    assert {block.notes["run by"] for block in own_blocks} == {*TESTS, "tests/e2e/test_hosts_systemd.py"}
    registries = {block.section for block in own_blocks if block.notes["run by"] == TESTS[1]}
    assert registries == {"Several registries"}
    assert ROUTER in "".join(block.text for block in own_blocks)
