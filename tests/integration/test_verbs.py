"""`svc services`, `svc drain`, `svc undrain` and `svc remove` against a real registry and a real router."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from svc.base.printable import is_unsafe
from svc.client.registry import RegistryClient
from tests.integration.commands import register, run, running, url_of
from tests.integration.fakes import mock
from tests.integration.registry.process import Registry
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.listed import Gate
from tests.integration.router.registry import instance
from tests.integration.router.routers import router
from tests.waiting import free_port, other_address, wait_until


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path, "--store", "sqlite:registry.db").start()
    yield made
    made.end()


def test_the_list_is_a_table_and_json(registry: Registry):
    assert run(registry, "services")[1] == f"no service is registered at {url_of(registry)}\n"
    register(registry, "qwen-server")
    out, _ = run(registry, "services")
    assert [line.split()[:3] for line in out.splitlines() if not line.startswith(" ")] == [
        ["NAME", "TYPE", "STATE"],
        ["qwen", "babysitter", "healthy"],
        ["qwen-server", "instance", "healthy"],
    ]
    assert run(registry, "services", "list")[0].splitlines()[0] == out.splitlines()[0]
    listed = json.loads(run(registry, "services", "--json")[0])
    assert (listed["total"], [s["name"] for s in listed["services"]]) == (2, ["qwen", "qwen-server"])


def test_show_prints_everything_of_one_service(registry: Registry):
    register(registry, "qwen-server", metadata={"cache_type": "paged"})
    out, _ = run(registry, "services", "show", "qwen-server")
    assert {"state           healthy", "cache_type      paged"} <= set(out.splitlines())
    assert json.loads(run(registry, "services", "show", "qwen", "--json")[0])["metadata"]["type"] == "babysitter"


def test_drain_and_undrain_take_the_babysitters_name_too(registry: Registry):
    register(registry, "a-server")
    register(registry, "b-server", 8200)
    out, _ = run(registry, "drain", "a", "b-server", "a-server")
    assert [line.split()[0] for line in out.splitlines()] == ["a-server", "b-server"]
    assert registry.client.get("a-server")["drained"]
    assert not registry.client.get("a")["drained"]
    assert run(registry, "undrain", "a")[0].startswith("a-server ")
    assert [registry.client.get(name)["drained"] for name in ("a-server", "b-server")] == [False, True]


def test_a_removed_service_is_gone(registry: Registry):
    register(registry, "a-server")
    assert run(registry, "remove", "a-server", "a")[0] == "a-server is removed\na is removed\n"
    assert registry.client.services() == []


def test_a_living_babysitters_service_is_removed_with_the_token_only(tmp_path: Path):
    (tmp_path / "token").write_text("secret-word\n")
    registry = Registry(tmp_path, "--store", "sqlite:registry.db", "--token-file", "token").start()
    try:
        RegistryClient(url_of(registry), secret="its own").register(instance("a-server", 8100, "m"))
        run(registry, "drain", "a")
        _, err = run(registry, "remove", "a-server", status=1)
        assert err.startswith("svc: cannot remove a-server: a-server belongs to the babysitter on h")
        assert err.endswith("; --token-file, or REGISTRY_TOKEN_FILE, names the token's file\n")
        run(registry, "remove", "a-server", "--token-file", "token")
        assert registry.client.services() == []
    finally:
        registry.end()


@pytest.mark.parametrize("verb", ["drain", "undrain", "remove"])
def test_one_unknown_name_prevents_all_and_a_similar_one_is_named(registry: Registry, verb: str):
    register(registry, "qwen-server")
    _, err = run(registry, verb, "qwen-server", "qwem-server", status=1)
    assert err == "svc: no service 'qwem-server' is registered; did you mean qwen-server?\n"
    assert not registry.client.get("qwen-server")["drained"]


def test_wrong_use_is_reported_in_one_line(registry: Registry):
    run(registry, "drain", status=2)
    run(registry, "services", "show", status=2)
    run(registry, "services", "no-such", status=2)
    far = f"http://127.0.0.1:{free_port()}"
    _, err = run(registry, "services", "--registry-url", far, status=1)
    assert err == (
        f"svc: cannot list the services: cannot reach the registry: {far}: connection refused; "
        "give its address with --registry-url\n"
    )


def test_the_operators_token_is_sent_to_a_registry_that_wants_one(tmp_path: Path):
    """Loopback needs no token, so the registry is reached through another address of this machine."""
    (tmp_path / "token").write_text("secret-word\n")
    (tmp_path / "wrong").write_text("guess\n")
    registry = Registry(tmp_path, "--store", "sqlite:registry.db", "--host", "0.0.0.0", "--token-file", "token").start()
    try:
        far = f"http://{other_address()}:{registry.port}"
        register(registry, "qwen-server")
        _, err = run(registry, "drain", "qwen", "--registry-url", far, status=1)
        assert "cannot drain qwen" in err
        assert "--token-file" in err
        assert err.count("\n") == 1
        _, err = run(registry, "drain", "qwen", "--registry-url", far, "--token-file", "wrong", status=1)
        assert "wrong was shown: is its token this registry's?" in err
        run(registry, "drain", "qwen", "--registry-url", far, "--token-file", "token")
        run(registry, "undrain", "qwen", "--registry-url", far, REGISTRY_TOKEN_FILE="token")
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "svc.toml").write_text(
            f'[registry]\ntoken_file = "token"\n[launch]\nregistry_url = "{far}"\n'
        )
        run(registry, "remove", "qwen-server", REGISTRY_URL="")
        assert [s["name"] for s in registry.client.services()] == ["qwen"]
        write_instance(tmp_path, "babysitter", f'registry_url = ["http://127.0.0.1:{free_port()}", "{far}"]')
        run(registry, "remove", "qwen", REGISTRY_URL="")
        assert registry.client.services() == []
    finally:
        registry.end()


def write_instance(site: Path, components: str, lines: str) -> None:
    """Make a site whose instance alone names registries and the token."""
    (site / "config" / "svc.toml").write_text(f'[launch]\ncomponents = "{components}"\n')
    backend = '[backend]\ntype = "mock"\nmodels = ["m"]\n'
    (site / "config" / "a.toml").write_text(f'host = "gpu1"\nport = 8100\ntoken_file = "token"\n{lines}\n{backend}')


def test_watch_prints_each_change_until_ctrl_c(registry: Registry):
    register(registry, "a-server")
    with running(registry, "services", "watch") as process:
        first = [process.stdout.readline().split()[1:3] for _ in range(2)]
        assert first == [["a", "healthy,"], ["a-server", "healthy,"]]
        registry.client.heartbeat("a-server", "running")  # changes nothing
        registry.client.heartbeat("a-server", "failed")
        assert process.stdout.readline().split(maxsplit=1)[1] == "a-server  healthy -> failed\n"
        registry.client.deregister("a-server")
        assert process.stdout.readline().split(maxsplit=1)[1] == "a-server  removed\n"
        registry.end()
        assert "trying again" in process.stderr.readline()
        registry.start()
        assert process.stderr.readline() == "svc: the registry is back\n"
        registry.client.register(instance("b", 8300, "m"))
        assert process.stdout.readline().split()[1:4] == ["b", "registered:", "healthy,"]
        process.send_signal(2)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


def test_watch_in_json_has_one_object_a_line(registry: Registry):
    register(registry, "a-server")
    with running(registry, "services", "watch", "--json") as process:
        first = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [change["name"] for change in first] == ["a", "a-server"]
        registry.client.deregister("a")
        change = json.loads(process.stdout.readline())
        assert (change["name"], change["change"], change["service"]) == ("a", "removed", None)


def test_drain_waits_until_nothing_is_in_flight_at_the_router(registry: Registry):
    made, gate = Instance(), Gate()
    made.script = gate
    about = {"babysitter": f"http://127.0.0.1:{made.port}", "health_url": f"http://127.0.0.1:{made.port}/health"}
    registry.client.register(instance("a-server", made.port, "m", metadata=about))
    with router("--registry-url", url_of(registry)) as own, own.client() as client:
        wait_until(lambda: own.service("a-server")["healthy"])
        client.send(post({"model": "m"}))
        wait_until(lambda: gate.now)
        _, err = run(registry, "drain", "a", "--wait", "--timeout", "0.5", "--router-url", own.url, status=1)
        assert err.startswith("svc: a-server: requests in flight after 0.5 s (1 in flight), and it stays drained")
        arguments = ("drain", "a", "--wait", "--router-url", own.url)
        with running(registry, *arguments) as process:
            assert process.stdout.readline() == "a-server is drained: it gets nothing new\n"
            assert process.poll() is None
            gate.let()
            assert client.answer().body == b"ok"
            assert "nothing in flight" in process.stdout.readline()
            assert process.wait(10) == 0
        _, err = run(registry, *arguments[:3], "--router-url", f"http://127.0.0.1:{free_port()}", status=1)
        assert "give its address with --router-url" in err
    made.close()


def test_registered_control_characters_do_not_reach_the_terminal(registry: Registry):
    evil = "\x1b]0;PWNED\x07\x1b[31mRED\x9b31mC1\u202e"
    metadata = {"type": f"x{evil}", "models": ["m"], f"k{evil}": "v\nname  forged"}
    registry.client.register(instance("evil-server", 8100, "m") | {"metadata": metadata})
    registry.client.report_events(
        [{"kind": "ejected", "service": "evil-server", "source": "router-x", "message": f"because{evil}"}]
    )
    for arguments in (
        ["services"],
        ["services", "show", "evil-server"],
        ["events"],
        ["services", "show", "no\x1b[31m"],
    ):
        out, err = run(registry, *arguments, status=1 if arguments[-1].startswith("no") else 0)
        assert not any(map(is_unsafe, (out + err).replace("\n", ""))), arguments
        assert "\nname  forged" not in out
    assert json.loads(run(registry, "services", "show", "evil-server", "--json")[0])["metadata"] == metadata


def test_a_service_without_a_babysitter_is_added_served_and_removed(registry: Registry):
    with mock("speech", ["whisper"]) as made, router("--registry-url", url_of(registry)) as own:
        out, _ = run(registry, "services", "add", "speech", "127.0.0.1", str(made.port), "--weight", "2")
        assert out == (
            f"speech is registered, at http://127.0.0.1:{made.port}: whisper\n"
            f"health checks ask http://127.0.0.1:{made.port}/health\n"
        )
        wait_until(lambda: [m["id"] for m in own.get("/v1/models").json()["data"]] == ["whisper"])
        with own.client() as client:
            client.send(post({"model": "whisper", "messages": [{"role": "user", "content": "hi"}]}))
            assert client.answer().status == 200
        entry = own.service("speech")
        assert (entry["healthy"], entry["weight"], entry["babysitter_url"]) == (True, 2, None)
        _, err = run(registry, "services", "add", "b", "127.0.0.1", str(free_port()), status=1)
        assert err.startswith("svc: nothing answers at ")
        run(registry, "services", "add", "b", "127.0.0.1", "8", "--health-path", "health", status=2)
        run(registry, "services", "add", "b", "127.0.0.1", "8", "--metadata", "[]", status=2)
        run(registry, "remove", "speech")
        wait_until(lambda: own.get("/services").json()["services"] == [])
