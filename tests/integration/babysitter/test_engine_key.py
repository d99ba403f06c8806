"""An engine with an API key of its own: the babysitter shows it the key, and nobody else."""

import os
from pathlib import Path

import pytest

from tests.integration.babysitter.conftest import Babysat
from tests.integration.babysitter.engine import Engine, engine
from tests.waiting import wait_until

BACKEND = 'api_key_file = "q.key"\n'
PROBE = 'probe = "generate"\nprobe_interval = 0.2\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The key's file, relative to the directory in which the babysitter runs."""
    path = tmp_path / "q.key"
    path.write_text("first-key\n")
    path.chmod(0o600)
    return path


def wants(made: Engine, key: str) -> None:
    made.key, made.refused = key, 0


def test_every_probe_shows_the_key_and_nothing_else_does(babysitter, registry, port, file):
    with engine(port) as keyed:
        wants(keyed, "first-key")
        process = babysitter(registry.url, PROBE, backend=BACKEND)
        registry.await_status("q-server", "running")
        wait_until(
            lambda: {"/metrics", "/slots", "/v1/chat/completions"} <= keyed.paths,
            description="all kinds of probes came",
        )
        assert keyed.refused == 0
        told = Babysat(port)
        assert told.health() == 200
        shown = [str(registry.client.services()), *(told.get(path).text for path in ("/info", "/models", "/metrics"))]
        shown += [process.said(), Path(f"/proc/{process.process.pid}/cmdline").read_text()]
        assert not [text for text in shown if "first-key" in text]


def test_a_changed_key_is_taken_up_and_a_broken_file_is_not(babysitter, registry, port, file):
    with engine(port) as keyed:
        wants(keyed, "first-key")
        process = babysitter(registry.url, backend=BACKEND)
        registry.await_status("q-server", "running")
        file.write_text("")
        wait_until(lambda: "q.key: is empty" in process.said(), description="the log says so")
        assert Babysat(port).health() == 200
        wants(keyed, "second-key")
        wait_until(lambda: Babysat(port).health() == 503, description="the engine refuses the old key")
        file.write_text("second-key")
        wait_until(lambda: Babysat(port).health() == 200, description="the new key is shown")


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("", "it wants an API key (401); write the key into a file and name that: [backend] api_key_file in q.toml"),
        (
            BACKEND,
            "it refuses the key in q.key (401); write the engine's key into q.key, or name another file with [backend]",
        ),
    ],
)
def test_an_engine_that_wants_another_key_says_what_to_change(babysitter, registry, port, file, backend, reason):
    with engine(port) as keyed:
        wants(keyed, "another-key")
        process = babysitter(registry.url, backend=backend)
        wait_until(lambda: reason in process.said(), description="the log names the cure")
        info = Babysat(port).get("/info").json()
        assert info["not_ready"].startswith(reason)
        assert info["misconfigured"] is True
        registry.await_status("q-server", "starting")


def test_a_babysitter_does_not_start_without_the_file_that_it_is_told_of(babysitter, registry, port, file):
    os.unlink(file)
    process = babysitter(registry.url, backend=BACKEND)
    assert process.process.wait(15) == 1
    assert "q.key: cannot read the file that [backend] api_key_file in q.toml names: No such file" in process.said()
    assert "Traceback" not in process.said()
