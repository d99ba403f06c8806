"""Files of a site that are wrong, or are not what runs, and unfinished rollouts, with the cures of `svc doctor`."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.e2e.doctor.diagnosis import EVERY_PROGRAM, Cures, doctor, everything, find, wait_until_healthy
from tests.e2e.sites import BIN, Site
from tests.waiting import wait_until


@pytest.mark.cures("files.none: svc doctor")
def test_a_directory_that_is_no_site(site: Site, cures: Cures) -> None:
    (site.root / "config" / "svc.toml").unlink()
    [finding] = doctor(site)
    assert finding["key"] == "files.none"
    other = Site(site.root)  # the operator changes to the site's directory
    cures.look(other, finding, "supervisord", status=1)


@pytest.mark.cures("files.wrong.*: svc up")
def test_a_file_with_an_error(ailing: Site, cures: Cures) -> None:
    toml = ailing.root / "config" / "two.toml"
    before = toml.read_text()
    toml.write_text(before.replace("port", "prot", 1))
    finding = find(ailing, "files.wrong.0")
    assert "config/two.toml" in finding["what"]
    toml.write_text(before)
    cures.apply(ailing, finding)
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("files.stale: svc up")
def test_a_file_that_was_not_applied(ailing: Site, cures: Cures) -> None:
    ailing.mock("three", "fresh", heartbeat_interval=1)
    [cause] = doctor(ailing, "--model", "fresh")
    assert cause["key"] == "files.stale"
    assert "three.conf: new" in cause["why"]
    assert "model.fresh" in everything([cause])
    cures.apply(ailing, cause, "--model", "fresh")
    assert ailing.chat("fresh").ok
    (ailing.root / "config" / "three.toml").unlink()
    ailing.svc("up")


@pytest.mark.long
@pytest.mark.cures("files.pending: svc up")
def test_a_rendered_file_that_supervisord_has_not_read(ailing: Site, cures: Cures) -> None:
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(before.replace("[backend]", '[backend]\nenv = { A = "1" }'))
    ailing.svc("render")
    finding = find(ailing, "files.pending")
    assert "one" in finding["why"]
    cures.apply(ailing, finding, restarts=("one:*",))
    toml.write_text(before)
    ailing.svc("up")
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("files.own: svc down && svc up")
def test_a_site_that_runs_from_var_because_of_a_variable(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    site.svc("up", ROUTER_HEALTH_TIMEOUT="4")
    finding = find(site, "files.own")
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text().replace("[router]\n", "[router]\nhealth_timeout = 4\n"))
    cures.apply(site, finding, restarts=EVERY_PROGRAM)
    wait_until_healthy(site)


@contextmanager
def stream_of_many_words(site: Site) -> Iterator[requests.Response]:
    """Yield the open stream of a long answer, which a drain waits for."""
    with site.chat("m", stream=True, max_tokens=2000) as answer:
        lines = answer.iter_lines()  # without a reference to it, the connection would be closed
        next(lines)
        yield answer


@pytest.mark.long
@pytest.mark.cures("rollout: svc status --watch", "rollout: svc *")
def test_a_rollout_at_work_and_one_that_was_killed(ailing: Site, cures: Cures) -> None:
    """The rollout needed a flag, because it restarts the last instance of a model: the cure repeats the flag."""
    url = ailing.service("one-server")["url"]
    requests.post(f"{url}/mock/behave", json={"tokens": 400, "token_delay": 0.2}, timeout=5).raise_for_status()
    command = (str(BIN / "svc"), "rollout", "restart", "one", "--allow-downtime")
    with stream_of_many_words(ailing) as stream:
        process = ailing.start(*command)
        wait_until(lambda: ailing.service("one-server")["drained"], 30, "the drain")
        finding = find(ailing, "rollout", fix="*watch")
        assert "instance.one-server" in everything([finding])
        cures.watch(ailing, finding, stream.close, changing=("one:*",))  # the rollout restarts it
        process.communicate(timeout=60)
        assert process.returncode == 0
    requests.post(f"{url}/mock/behave", json={"tokens": 400, "token_delay": 0.2}, timeout=5).raise_for_status()
    with stream_of_many_words(ailing):
        process = ailing.start(*command)
        wait_until(lambda: ailing.service("one-server")["drained"], 30, "the drain")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        finding = find(ailing, "rollout", fix="*restart*")
    cures.apply(ailing, finding, restarts=("one:*",))
    assert not json.loads(ailing.svc("status", "--json")[0])["problems"]
    wait_until_healthy(ailing)
