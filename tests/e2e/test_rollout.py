"""`svc rollout restart` under load: no request fails, and a failed instance stops the rollout."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.rollouts import BOTH, long_stream, pids
from tests.e2e.sites import SharedSite, Site
from tests.e2e.traffic import HEAVY_PAUSE_SECONDS, Traffic, read_stream
from tests.waiting import wait_until


def start_pair(site: Site) -> None:
    """Start two instances of m, which end at once while there is a file broken-NAME."""
    for name in ("one", "two"):
        site.mock(name, "m", "--token-delay", "0.002")
        toml = site.root / "config" / f"{name}.toml"
        script = f'test ! -e {site.root}/broken-{name} || {{ echo no luck today; exit 3; }}; exec svc mock "$@"'
        text = toml.read_text().replace('command = "svc mock"', 'command = "sh"')
        toml.write_text(text.replace("args = [", f"args = ['-c', '{script}', 'sh', "))
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


def test_two_instances_restart_in_turn_and_no_request_fails(pair: Site):
    before = pids(pair, "one", "two")
    streamed, _ = long_stream(pair, 5)
    events: list[str] = []
    reading = threading.Thread(target=lambda: events.extend(read_stream(streamed)), daemon=True)
    reading.start()
    with Traffic(pair.router, kept=True) as kept, Traffic(pair.router, kept=False, stream=False) as fresh:
        wait_until(lambda: kept.answered > 20 and fresh.answered > 20, description="traffic")
        out, _ = pair.svc("rollout", "restart", "m")
        marks = kept.answered, fresh.answered
        wait_until(
            lambda: kept.answered > marks[0] + 20 and fresh.answered > marks[1] + 20, description="traffic afterwards"
        )
    assert (kept.failures, fresh.failures) == ([], [])
    assert [line.split()[:2] for line in out.splitlines()] == [["one", "back"], ["two", "back"]]
    after = pids(pair, "one", "two")
    assert not set(before.values()) & set(after.values())
    assert pair.routed() == BOTH
    assert not (pair.root / "var" / "rollout.json").exists()
    reading.join(30)
    assert events[-1] == "[DONE]"
    assert not any('"error"' in event for event in events)


def test_the_last_healthy_instance_is_refused_without_allow_downtime(site: Site):
    site.mock("one", "m")
    site.mock("two", "m,n")
    site.svc("up")
    before = pids(site, "one", "two")
    line = site.refused("rollout", "restart", "all")
    assert line == ("svc: two: it is the last healthy instance of n; start another first, or give --allow-downtime")
    site.svc("drain", "two")
    assert "one: it is the last healthy instance of m" in site.refused("rollout", "restart", "one")
    assert pids(site, "one", "two") == before
    site.svc("undrain", "two")
    assert site.svc("rollout", "restart", "all", "--dry-run", "--allow-downtime")[0].splitlines() == [
        "one: drain, restart",
        "two: drain, restart",
    ]
    assert pids(site, "one", "two") == before
    site.svc("rollout", "restart", "two-server", "--allow-downtime")
    assert site.pid("one:server") == before["one"]
    assert site.pid("two:server") != before["two"]


def test_a_failed_instance_stops_the_rollout_and_its_log_is_shown(pair: Site):
    """The second is never touched; and once the first is mended, the same command finishes."""
    before = pids(pair, "one", "two")
    broken = pair.root / "broken-one"
    broken.touch()
    with Traffic(pair.router) as traffic:
        wait_until(lambda: traffic.answered > 20, description="traffic")
        out, err = pair.svc("rollout", "restart", "all", status=1)
        mark = traffic.answered
        wait_until(lambda: traffic.answered > mark + 20, description="traffic at the other")
    assert traffic.failures == []
    assert "  no luck today" in out.splitlines()
    assert err.startswith("svc: one:server: it does not come back; it stays drained")
    assert "not begun: two" in err
    assert len(err.splitlines()) == 1
    assert pids(pair, "two") == {"two": before["two"]}
    assert pair.routed() == {"two-server"}

    broken.unlink()
    pair.svc("rollout", "restart", "all")
    assert pair.routed() == BOTH
    assert pids(pair, "two")["two"] != before["two"]


@pytest.mark.long
def test_an_instance_that_the_operator_drained_stays_drained(pair: Site):
    pair.svc("drain", "one")
    before = pids(pair, "one", "two")
    out, _ = pair.svc("rollout", "restart", "one")
    assert "stays drained by the operator" in out
    assert pair.service("one-server")["drained"]
    assert pair.routed() == {"two-server"}
    assert pids(pair, "one")["one"] != before["one"]


def test_ctrl_c_undrains_an_instance_that_still_serves(pair: Site):
    streamed, begun = long_stream(pair)
    name = begun.removesuffix("-server")
    process = pair.start("svc", "rollout", "restart", name)
    wait_until(lambda: pair.service(begun)["drained"], description="the drain")
    line = pair.refused("rollout", "restart", "all")
    assert f"`svc rollout restart {name}` (pid {process.pid}, since " in line
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert out.splitlines() == ["interrupted", f"  {name}: as it was"]
    assert not pair.service(begun)["drained"]
    assert not (pair.root / "var" / "rollout.json").exists()
    streamed.close()


@pytest.mark.long
def test_a_killed_rollout_is_finished_by_the_next_one(pair: Site):
    """Killed while the first is drained, its drain mark is known for the rollout's own; the operator's is kept."""
    streamed, begun = long_stream(pair)
    name = begun.removesuffix("-server")
    process = pair.start("svc", "rollout", "restart", name)
    wait_until(lambda: pair.service(begun)["drained"], description="the drain")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert json.loads((pair.root / "var" / "rollout.json").read_text())["ours"] == [begun]
    streamed.close()
    with Traffic(pair.router, pause_seconds=HEAVY_PAUSE_SECONDS) as traffic:
        wait_until(lambda: traffic.answered > 20, description="traffic")
        pair.svc("rollout", "restart", "all")
    assert traffic.failures == []
    assert pair.routed() == BOTH
    assert not (pair.root / "var" / "rollout.json").exists()


@pytest.mark.long
def test_router_and_registry_are_renewed_and_no_request_fails(pair: Site):
    before = {name: pair.pid(name) for name in ("registry", "router")}
    with Traffic(pair.router, pause_seconds=HEAVY_PAUSE_SECONDS) as traffic:
        wait_until(lambda: traffic.answered > 20, description="traffic")
        pair.svc("rollout", "restart", "router", "registry")
    assert traffic.failures == []
    assert pair.pid("registry") != before["registry"]
    assert pair.pid("router") == before["router"], "gunicorn's master stays"


def test_a_wrong_name_is_an_error_with_the_closest_one(pair: Site):
    assert "did you mean one?" in pair.refused("rollout", "restart", "two", "on")
    far = pair.refused("rollout", "restart", "one", "--router-url", "http://127.0.0.1:1")
    assert "the router does not answer at http://127.0.0.1:1" in far


def test_a_wrong_toml_is_refused_before_anything_moves(pair: Site):
    before = pids(pair, "one", "two")
    toml = pair.root / "config" / "two.toml"
    right = toml.read_text()
    toml.write_text(right + '\ncolour = "red"\n')
    assert "config/two.toml: " in pair.refused("rollout", "restart", "m")
    toml.write_text(right)
    assert (pids(pair, "one", "two"), pair.routed()) == (before, BOTH)


@pytest.mark.long
def test_parallel_restarts_never_take_all_instances_of_a_model(site: Site):
    for name in ("a", "b", "c", "d"):
        site.mock(name, "m" if name < "d" else "n,m")
    site.mock("e", "n")
    site.svc("up")
    with (
        Traffic(site.router, pause_seconds=HEAVY_PAUSE_SECONDS) as traffic,
        Traffic(site.router, model="n", pause_seconds=HEAVY_PAUSE_SECONDS) as other,
    ):
        wait_until(lambda: traffic.answered > 20 and other.answered > 20, description="traffic")
        process = site.start("svc", "rollout", "restart", "all", "--parallel", "5")
        while process.poll() is None:
            routed = site.routed()
            assert routed & {"d-server", "e-server"}
            assert routed & {"a-server", "b-server", "c-server", "d-server"}
        out, _ = process.communicate(timeout=10)
    assert (traffic.failures, other.failures) == ([], [])
    assert process.returncode == 0
    assert len(out.splitlines()) == 5
    assert len(site.routed()) == 5


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_rollout_killed_at_any_moment_is_finished_by_the_next_one(pair: Site):
    kills = 0
    with (
        Traffic(pair.router, pause_seconds=HEAVY_PAUSE_SECONDS) as kept,
        Traffic(pair.router, kept=False, pause_seconds=HEAVY_PAUSE_SECONDS) as fresh,
    ):
        for _ in range(15):
            before, moment = pids(pair, "one", "two"), random.uniform(0.5, 6)
            kills += pair.killed("svc", "rollout", "restart", "all", after=moment)
            pair.svc("rollout", "restart", "all", timeout=120)
            assert pair.routed() == BOTH, moment
            assert not set(before.values()) & set(pids(pair, "one", "two").values()), moment
            assert not (pair.root / "var" / "rollout.json").exists(), moment
    assert kills > 3
    assert (kept.failures, fresh.failures) == ([], [])


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_rollouts_under_load_fail_no_request(pair: Site):
    """Short requests on kept and on new connections, and streams, from 24 clients."""
    began = time.monotonic()
    loads = [
        Traffic(pair.router, kept=True, pause_seconds=HEAVY_PAUSE_SECONDS),
        Traffic(pair.router, kept=False, pause_seconds=HEAVY_PAUSE_SECONDS),
        *(
            Traffic(pair.router, kept=True, stream=True, max_tokens=300, pause_seconds=HEAVY_PAUSE_SECONDS)
            for _ in range(4)
        ),
    ]
    for load in loads:
        load.__enter__()
    for _ in range(10):
        marks = [load.answered for load in loads]
        pair.svc("rollout", "restart", "all", timeout=300)
        assert pair.routed() == BOTH
        wait_until(
            lambda marks=marks: all(x.answered > m for x, m in zip(loads, marks, strict=True)), description="traffic"
        )
    for load in loads:
        load.__exit__(None, None, None)
    assert [load.failures for load in loads] == [[]] * len(loads)
    print(f"{sum(load.answered for load in loads)} answers in {time.monotonic() - began:.0f} s")
