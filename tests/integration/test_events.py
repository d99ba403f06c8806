"""`svc events` against a real registry, and against servers that are none."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.settings_file import load_settings
from svc.site.access import operator_user
from svc.site.audit import record, recorded_rollout
from tests.e2e.sites import clean_environ
from tests.fork_server import run_svc
from tests.integration.commands import register, run, running, url_of
from tests.integration.fakes import mock
from tests.integration.registry.process import Registry
from tests.integration.router.routers import router, service, static

SOON_SECONDS = 5.0  # much less than the 30 seconds of a long poll


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path, "--store", "sqlite:registry.db").start()
    yield made
    made.end()


def named(out: str) -> list[tuple[str, str]]:
    return [tuple(line.split()[2:4]) for line in out.splitlines()]


def test_a_registry_that_is_back_is_reported_at_once(registry: Registry):
    register(registry, "one-server")
    with running(registry, "events", "-f", "-n", "1") as process:
        process.stdout.readline()
        registry.client.drain("one-server")
        assert "drained" in process.stdout.readline(), "it follows, and waits for the next event"
        registry.end()
        assert "trying again" in process.stderr.readline()
        registry.start()
        began = time.monotonic()
        assert process.stderr.readline() == "svc: the registry is back\n"
        assert time.monotonic() - began < SOON_SECONDS


def test_a_service_is_named_as_instance_babysitter_or_program(registry: Registry):
    register(registry, "one-server")
    register(registry, "two-server", 8200)
    both = [("registered", "one-server"), ("registered", "one")]
    assert named(run(registry, "events", "--service", "one")[0]) == both
    assert named(run(registry, "events", "--service", "one", "-n", "1")[0]) == both[1:]
    assert named(run(registry, "events", "--service", "one:server")[0]) == both[:1]
    assert named(run(registry, "events", "--service", "one:babysitter")[0]) == both[1:]
    assert named(run(registry, "events", "--service", "one-server")[0]) == both[:1]


def test_following_one_service_prints_only_its_events(registry: Registry):
    register(registry, "one-server")
    with running(registry, "events", "-f", "-n", "1", "--service", "one") as process:
        process.stdout.readline()
        registry.client.drain("one")
        register(registry, "two-server", 8200)
        registry.client.drain("one-server")
        events = [process.stdout.readline().split()[2:4] for _ in range(2)]
    assert events == [["drained", "one"], ["drained", "one-server"]]


def test_an_unknown_name_is_refused_with_a_similar_one(registry: Registry):
    register(registry, "qwen-server")
    _, err = run(registry, "events", "--service", "qwem-server", status=1)
    assert err == (
        "svc: no event of qwem-server is kept, and no service 'qwem-server' is registered; did you mean qwen-server?\n"
    )
    _, err = run(registry, "events", "--service", "other", status=1)
    assert err.endswith("`svc services list` shows those there are\n")
    assert run(registry, "events", "--service", "qwen", "--kind", "left")[1] == "nothing like this has happened yet\n"


def test_kinds_are_joined_by_commas_and_an_unknown_one_is_refused(registry: Registry):
    register(registry, "one-server")
    registry.client.drain("one-server")
    assert named(run(registry, "events", "--kind", "left,drained", "--kind", "back")[0]) == [("drained", "one-server")]
    _, err = run(registry, "events", "--kind", "drained,no-such", status=2)
    assert "'no-such' is no kind; the kinds are started, registered," in " ".join(err.split())


def test_the_audit_shows_who_did_what_from_where(registry: Registry):
    register(registry, "one-server")
    user = operator_user()
    run(registry, "drain", "one-server")
    run(registry, "undrain", "one-server")
    run(registry, "remove", "one")
    out, _ = run(registry, "events", "--audit")
    assert named(out) == [("drained", "one-server"), ("undrained", "one-server"), ("left", "one")]
    assert all(line.endswith(f"  by user:{user} at 127.0.0.1") for line in out.splitlines())
    first = json.loads(run(registry, "events", "--audit", "--json")[0].splitlines()[0])
    assert (first["actor"], first["address"]) == (f"user:{user}", "127.0.0.1")
    assert named(run(registry, "events", "--audit", "--kind", "left")[0]) == [("left", "one")]


def test_a_rollout_is_recorded_with_its_result(registry: Registry, capsys: pytest.CaptureFixture[str]):
    settings = load_settings(environ={"REGISTRY_URL": url_of(registry)})
    with recorded_rollout(settings, "svc apply (one: add)"):
        pass
    with pytest.raises(CommandError), recorded_rollout(settings, "svc rollout restart one"):
        raise CommandError("one does not start\nits log")
    with pytest.raises(KeyboardInterrupt), recorded_rollout(settings, "svc rollout restart two"):
        raise KeyboardInterrupt
    events, _ = registry.client.events(only={"audit": "true"})
    by = f"; by user:{operator_user()} at 127.0.0.1"
    assert [(event["kind"], event["service"], event["message"]) for event in events] == [
        ("rollout", "svc", f"svc apply (one: add): done{by}"),
        ("rollout", "svc", f"svc rollout restart one: stopped: one does not start{by}"),
        ("rollout", "svc", f"svc rollout restart two: interrupted{by}"),
    ]
    record(settings, "rollout", "two words", "")
    assert "events[0].service: must be a service's name" in capsys.readouterr().err
    registry.end()
    record(settings, "rollout", "svc", "no registry answers, and the command goes on")
    assert capsys.readouterr() == ("", "")


def test_a_change_of_the_router_s_keys_is_recorded_without_the_secret(registry: Registry):
    keys = {"ROUTER_KEYS_FILE": "var/keys.toml"}
    secret, _ = run(registry, "keys", "add", "ci", "--concurrency", "4", "--note", "nightly", **keys)
    run(registry, "keys", "set", "ci", "--concurrency", "none", "--share", "2", **keys)
    run(registry, "keys", "set", "ci", "--share", "2", **keys)
    run(registry, "keys", "revoke", "ci", **keys)
    run(registry, "keys", "add", "draft", "--file", "draft.toml", **keys)
    events, _ = registry.client.events(only={"audit": "true"})
    by = f"; by user:{operator_user()} at 127.0.0.1"
    assert [(event["kind"], event["service"], event["message"]) for event in events] == [
        ("key-added", "router", f"ci: concurrency 4, note nightly{by}"),
        ("key-changed", "router", f"ci: concurrency: - (was 4), share: 2 (was 1){by}"),
        ("key-revoked", "router", f"ci{by}"),
    ]
    assert secret.strip() not in str(events)
    registry.end()
    assert run(registry, "keys", "add", "ci", **keys)[1].count("svc:") == 0


def test_names_are_aligned(registry: Registry):
    register(registry, "a-server")
    registry.client.report_events([{"kind": "ejected", "service": "a", "source": "router", "message": "3 failures"}])
    lines = run(registry, "events")[0].splitlines()
    assert len({line.index(text) for line, text in zip(lines, ("running", "running", "3 f"), strict=True)}) == 1


@pytest.fixture(scope="module")
def other_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Yield the URLs of an instance and of a router."""
    with mock("one", ["m"]) as backend:
        path = static(tmp_path_factory.mktemp("router") / "static.json", [service("one", backend.port, "m")])
        with router("--static-services", path) as own:
            yield [f"http://127.0.0.1:{backend.port}", own.url]


@pytest.mark.parametrize("arguments", [("events",), ("services",), ("services", "show", "x"), ("services", "watch")])
def test_a_server_that_is_no_registry_is_reported(other_servers: list[str], tmp_path: Path, arguments: tuple[str, ...]):
    instance, router_url = other_servers
    for url, end in ((instance, "; give the registry's address with --registry-url\n"), (router_url, "\n")):
        _, err = run_svc(*arguments, "--registry-url", url, cwd=tmp_path, env=clean_environ(), status=1)
        assert f"{url} is no registry" in err
        assert err.endswith(end)


@pytest.mark.parametrize("url", ["nonsense", "localhost:18000", "http://", "http://h:port", "ftp://h"])
@pytest.mark.parametrize("arguments", [("events",), ("services",), ("drain", "x")])
def test_a_text_that_is_no_url_is_refused(tmp_path: Path, arguments: tuple[str, ...], url: str):
    _, err = run_svc(*arguments, "--registry-url", url, cwd=tmp_path, env=clean_environ(), status=1)
    assert err == f"svc: --registry-url: {url!r} is no URL; write it like http://host:18000\n"


def test_events_since_a_time_are_all_listed(registry: Registry):
    for number in range(12):
        register(registry, f"e{number}-server", 8200 + 10 * number)
    assert len(named(run(registry, "events")[0])) == 20
    assert len(named(run(registry, "events", "--since", "1h", "--kind", "registered")[0])) == 24
    assert len(named(run(registry, "events", "--since", "1h", "--kind", "registered", "-n", "3")[0])) == 3
    out, error = run(registry, "events", "--since", "2999-01-01")
    assert (out, "nothing like this" in error) == ("", True)
