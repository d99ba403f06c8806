"""`svc apply`: only what differs is changed, and no request fails."""

import os
import random
import re
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.rollouts import BOTH, long_stream, pids
from tests.e2e.sites import SharedSite, Site
from tests.e2e.traffic import HEAVY_PAUSE_SECONDS, Traffic
from tests.waiting import free_port_pair, wait_until

PROGRAMS = ("registry", "router", "one:server", "one:babysitter", "two:server", "two:babysitter")


def start_pair(site: Site) -> None:
    for name in ("one", "two"):
        site.mock(name)
    site.svc("up")


@pytest.fixture(scope="module")
def shared_pair() -> Iterator[SharedSite]:
    shared = SharedSite(start_pair)
    yield shared
    shared.end()


@pytest.fixture
def pair(shared_pair: SharedSite) -> Iterator[Site]:
    """Yield a site with two instances of m; the tests that leave it as it was share it."""
    yield shared_pair.open()
    shared_pair.end_if_changed()


def edit(site: Site, name: str, old: str, new: str) -> None:
    path = site.root / "config" / f"{name}.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def served(site: Site, *arguments: str) -> tuple[str, str]:
    """An apply under traffic that does not fail."""
    with Traffic(site.router) as kept, Traffic(site.router, kept=False) as fresh:
        wait_until(lambda: kept.answered > 20 and fresh.answered > 20, description="traffic")
        result = site.svc("apply", *arguments)
        marks = kept.answered, fresh.answered
        wait_until(
            lambda: kept.answered > marks[0] + 20 and fresh.answered > marks[1] + 20, description="traffic afterwards"
        )
    assert (kept.failures, fresh.failures) == ([], [])
    return result


def all_pids(site: Site) -> dict[str, int]:
    return {name: site.pid(name) for name in PROGRAMS}


def test_only_what_differs_is_changed_and_no_request_fails(pair: Site):
    assert pair.svc("apply")[0] == "nothing to do: what runs is what the files say\n"
    before = all_pids(pair)
    edit(pair, "one", "'m'", "'m,extra'")
    pair.mock("three")
    out, _ = served(pair)
    assert [line.split()[:2] for line in out.splitlines()] == [["three", "back"], ["one", "back"]]
    after = all_pids(pair)
    assert {name for name in before if before[name] != after[name]} == {"one:server", "one:babysitter"}
    assert pair.routed() == {*BOTH, "three-server"}
    assert pair.chat("extra").ok
    audit, _ = pair.svc("events", "--audit")
    assert {line.split()[2] for line in audit.splitlines()} == {"drained", "undrained", "rollout"}
    assert re.search(r"rollout +svc +svc apply \(.*one: .*\): done; by user:\S+ at 127\.0\.0\.1", audit)
    assert pair.svc("apply")[0] == "nothing to do: what runs is what the files say\n"
    pair.svc("render", "--check")


def test_a_removed_instance_is_drained_and_can_be_added_again(pair: Site):
    toml = pair.root / "config" / "two.toml"
    text = toml.read_text()
    toml.unlink()
    out, _ = served(pair)
    assert "removed" in out
    assert pair.service("two-server") == {}
    assert "two" not in pair.run("supervisorctl", "status")[0]
    assert not (pair.root / "conf.d" / "two.conf").exists()
    toml.write_text(text)
    served(pair)
    assert pair.routed() == BOTH, "no mark of its former life"


def test_changes_for_babysitters_and_router_leave_instances_running(pair: Site):
    (pair.root / "config" / "two.toml").unlink()
    pair.svc("apply")
    before = pids(pair, "one")
    (pair.root / "config" / "one.toml").open("a").write('[metadata]\ncache_type = "static"\n')
    settings = pair.root / "config" / "svc.toml"
    settings.write_text(settings.read_text().replace("[router]", "[router]\nmax_errors = 5"))
    served(pair)
    wait_until(
        lambda: pair.service("one-server")["metadata"].get("cache_type") == "static", description="the new metadata"
    )
    assert pids(pair, "one") == before
    assert pair.svc("apply")[0].startswith("nothing to do")


def test_wrong_files_and_ports_are_refused_before_anything_moves(pair: Site):
    before, programs = pair.files(), all_pids(pair)

    def refused(name: str, text: str, error: str) -> None:
        path = pair.root / "config" / f"{name}.toml"
        path.write_text(text)
        assert error in pair.refused("apply")
        if f"config/{name}.toml" in before:
            path.write_bytes(before[f"config/{name}.toml"])
        else:
            path.unlink()
        assert (pair.files(), all_pids(pair)) == (before, programs)

    one = before["config/one.toml"].decode()
    mock = '[backend]\ntype = "mock"\nmodels = ["m"]\n'
    refused("one", one.replace("[backend]", "[backend]\ncolour = 1"), "config/one.toml: ")
    refused("three", f"port = {free_port_pair()}\n[backend]\ntype = 'mok'\n", "backend.type")
    port = free_port_pair()
    with socket.create_server(("127.0.0.1", port)):
        refused("three", f'name = "three"\nport = {port}\n{mock}', f"three: port {port} is taken by ")
    pair.svc("drain", "two")
    refused("one", one.replace("'m'", "'m,x'"), "one: it is the last healthy instance of m; ")
    pair.svc("undrain", "two")


@pytest.mark.long
def test_the_last_instance_of_a_model_is_removed_with_allow_downtime(site: Site):
    site.mock("one")
    site.svc("up")
    site.mock("one", "other")
    assert "--allow-downtime" in site.refused("apply")
    out = site.svc("apply", "--allow-downtime", "--dry-run")[0]
    assert out.splitlines() == ["conf.d/one.conf: changed", "one: drain, replace"]
    assert site.chat("m").ok
    site.svc("apply", "--allow-downtime")
    assert site.chat("other").ok


@pytest.mark.long
def test_a_model_is_given_up_with_allow_downtime(pair: Site):
    """Only the first that comes back without it shows that this is what the files mean."""
    for name in ("one", "two"):
        edit(pair, name, "'m'", "'m,old'")
    pair.svc("apply")
    for name in ("one", "two"):
        edit(pair, name, "'m,old'", "'m,new'")
    _, err = pair.svc("apply", status=1)
    assert err == "svc: two: it is the last healthy instance of old; --allow-downtime lets it go\n"
    assert (pair.chat("old").ok, pair.chat("new").ok) == (True, True)
    served(pair, "--allow-downtime")
    assert (pair.chat("old").status_code, pair.chat("new").ok) == (503, True)


@pytest.mark.long
def test_a_new_instance_waits_for_the_port_of_a_removed_one(pair: Site):
    (pair.root / "config" / "two.toml").rename(pair.root / "config" / "zwei.toml")
    edit(pair, "zwei", 'name = "two"', 'name = "zwei"')
    served(pair)
    assert pair.routed() == {"one-server", "zwei-server"}
    assert pair.service("two-server") == {}


@pytest.mark.long
def test_two_instances_that_exchange_their_ports_are_refused(pair: Site):
    files = [pair.root / "config" / f"{name}.toml" for name in ("one", "two")]
    one, two = (path.read_text() for path in files)
    files[0].write_text(two.replace('"two"', '"one"'))
    files[1].write_text(one.replace('"one"', '"two"'))
    assert "one: port: it is to get a port of two, and the other way round" in pair.refused("apply")


def test_a_failed_instance_stops_the_apply_and_a_mended_file_finishes_it(pair: Site):
    before = pids(pair, "one", "two")
    for name in ("one", "two"):
        edit(pair, name, "'m'", "'m', '--no-such-flag'")
    with Traffic(pair.router) as traffic:
        wait_until(lambda: traffic.answered > 20, description="traffic")
        out, err = pair.svc("apply", status=1)
        assert "No such option" in out
        assert err.startswith("svc: one:server: it does not come back")
        assert pids(pair, "two")["two"] == before["two"]
        for name in ("one", "two"):
            edit(pair, name, "'--no-such-flag'", "'--tokens', '5'")
        pair.svc("apply")
    assert traffic.failures == []
    assert pair.routed() == BOTH


def test_a_killed_apply_is_finished_by_the_next_one(pair: Site):
    """While it waits for a stream: conf.d is new, and the instance drained by us."""
    streamed, begun = long_stream(pair)
    for name in ("one", "two"):
        edit(pair, name, "'m'", "'m,n'")
    process = pair.start("svc", "apply", "--parallel", "2")
    wait_until(
        lambda: pair.service(begun).get("drained") or process.poll() is not None, timeout=40, description="the drain"
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    streamed.close()
    served(pair)
    assert pair.routed() == BOTH
    assert pair.chat("n").ok
    assert pair.svc("apply")[0].startswith("nothing to do")
    assert not (pair.root / "var" / "rollout.json").exists()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_an_apply_killed_at_any_moment_is_finished_by_the_next_one(pair: Site):
    before, kills = "m', '--tokens', '3", 0
    for name in ("one", "two"):
        edit(pair, name, "'m'", f"'{before}'")
    with (
        Traffic(pair.router, pause_seconds=HEAVY_PAUSE_SECONDS) as kept,
        Traffic(pair.router, kept=False, pause_seconds=HEAVY_PAUSE_SECONDS) as fresh,
    ):
        for turn in range(20):
            after, moment = f"m', '--tokens', '{4 + turn}", random.uniform(0.5, 8)
            for name in ("one", "two"):
                edit(pair, name, f"'{before}'", f"'{after}'")
            kills += pair.killed("svc", "apply", after=moment)
            pair.svc("apply", timeout=120)
            assert pair.routed() == BOTH, moment
            assert pair.chat().json()["usage"]["completion_tokens"] == 4 + turn, moment
            assert not (pair.root / "var" / "rollout.json").exists(), moment
            before = after
    assert kills > 5
    assert (kept.failures, fresh.failures) == ([], [])


def test_without_supervisord_the_error_names_svc_up(site: Site):
    site.mock("one")
    assert site.refused("apply") == "svc: no supervisord runs on this site; start it with `svc up`"
