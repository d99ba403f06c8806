"""An engine with its own API key: the babysitter sends the key to the engine, and to no other server."""

import os
from pathlib import Path

import pytest

from tests.integration.babysitter.engine import Engine, engine
from tests.integration.babysitter.processes import BabysitterClient
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


def require_key(engine: Engine, key: str) -> None:
    engine.key, engine.refused = key, 0


def test_every_probe_sends_the_key_and_no_output_has_it(babysitter, registry, port, file):
    with engine(port) as keyed:
        require_key(keyed, "first-key")
        process = babysitter(registry.url, PROBE, backend=BACKEND)
        registry.await_status("q-server", "running")
        wait_until(
            lambda: {"/metrics", "/slots", "/v1/chat/completions"} <= keyed.paths,
            description="all kinds of probes came",
        )
        assert keyed.refused == 0
        client = BabysitterClient(port)
        assert client.health() == 200
        texts = [str(registry.client.services()), *(client.get(path).text for path in ("/info", "/models", "/metrics"))]
        texts += [process.output(), Path(f"/proc/{process.process.pid}/cmdline").read_text()]
        assert not [text for text in texts if "first-key" in text]


def test_a_changed_key_is_used_and_an_invalid_file_is_not(babysitter, registry, port, file):
    with engine(port) as keyed:
        require_key(keyed, "first-key")
        process = babysitter(registry.url, backend=BACKEND)
        registry.await_status("q-server", "running")
        file.write_text("")
        wait_until(lambda: "q.key: is empty" in process.output(), description="the log says so")
        assert BabysitterClient(port).health() == 200
        require_key(keyed, "second-key")
        wait_until(lambda: BabysitterClient(port).health() == 503, description="the engine refuses the old key")
        file.write_text("second-key")
        wait_until(lambda: BabysitterClient(port).health() == 200, description="the new key is sent")


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
def test_the_log_says_what_to_change_when_the_engine_refuses_the_key(babysitter, registry, port, file, backend, reason):
    with engine(port) as keyed:
        require_key(keyed, "another-key")
        process = babysitter(registry.url, backend=backend)
        wait_until(lambda: reason in process.output(), description="the log names the cure")
        info = BabysitterClient(port).get("/info").json()
        assert info["not_ready"].startswith(reason)
        assert info["misconfigured"] is True
        registry.await_status("q-server", "starting")


def test_a_babysitter_does_not_start_without_its_key_file(babysitter, registry, port, file):
    os.unlink(file)
    process = babysitter(registry.url, backend=BACKEND)
    assert process.process.wait(15) == 1
    assert "q.key: cannot read the file that [backend] api_key_file in q.toml names: No such file" in process.output()
    assert "Traceback" not in process.output()
