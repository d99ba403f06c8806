"""The owner of a name, at a real registry over HTTP."""

import secrets

import pytest
import requests

from svc.base.errors import Forbidden, NotFound, SvcError, Unauthorized
from svc.client.registry import RegistryClient
from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import other_address, wait_until

TOKEN = "the-operators-token"


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    running = Registry(tmp_path, "--host", "0.0.0.0", "--token-file", "token").start()
    yield running
    running.end()


@pytest.fixture
def client_with(registry, tmp_path):
    """A function that returns a client: with a secret, with a token, and from this machine or from another address."""

    def client(secret="", token="", remote=False):
        path = tmp_path / f"token-{secrets.token_hex(4)}"
        path.write_text(token)
        host = other_address() if remote else "127.0.0.1"
        return RegistryClient(f"http://{host}:{registry.port}", str(path) if token else "", secret=secret)

    return client


WRITES = {
    "register": lambda c: c.register(registration(url="http://10.0.0.66:8100")),
    "heartbeat": lambda c: c.heartbeat("qwen", "draining"),
    "update": lambda c: c.update("qwen", {"status": "draining"}),
    "deregister": lambda c: c.deregister("qwen"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_only_the_owner_may_write_while_its_lease_holds(client_with, write):
    owner = client_with("mine" * 8)
    owner.register(registration())
    before = owner.get("qwen")
    for other in (
        client_with("others" * 8),
        client_with(),
        client_with("others" * 8, token=TOKEN),
        client_with(token="guessed"),
    ):
        with pytest.raises(Forbidden, match="belongs to the babysitter on gpu7"):
            write(other)
    assert owner.get("qwen") == before
    write(owner)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_operators_token_overrides_ownership(client_with, write):
    client_with("mine" * 8).register(registration())
    write(client_with(token=TOKEN))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_operators_token_overrides_from_another_machine(client_with, write):
    client_with("mine" * 8).register(registration())
    write(client_with(token=TOKEN, remote=True))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_another_machine_needs_the_token_even_with_the_secret(client_with, write):
    client_with("mine" * 8).register(registration())
    for token in ("", "guessed"):
        with pytest.raises(Unauthorized, match="token"):
            write(client_with("mine" * 8, token=token, remote=True))
    write(client_with("mine" * 8, token=TOKEN, remote=True))


def test_the_rejection_names_the_owner_and_what_to_do(registry, client_with):
    client_with("mine" * 8).register(registration())
    answer = requests.delete(f"http://127.0.0.1:{registry.port}/services/qwen", timeout=5)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (403, "not_owner", "permission_error")
    for part in ("qwen", "gpu7", "http://10.0.0.7:8100", "choose another name", "token"):
        assert part in error["message"]
    assert (
        "svc_registry_refusals_total 1.0" in requests.get(f"http://127.0.0.1:{registry.port}/metrics", timeout=5).text
    )


def test_ownership_survives_a_restart_of_the_registry(registry, client_with):
    client_with("mine" * 8).register(registration())
    registry.end()
    registry.start()
    with pytest.raises(Forbidden):
        client_with("others" * 8).register(registration())
    client_with("mine" * 8).register(registration())


def test_after_the_lease_another_may_register_the_name(client_with):
    first, second = client_with("first" * 8), client_with("second" * 8)
    first.register(registration(lease_seconds=1))
    wait_until(lambda: not first.get("qwen")["is_healthy"])
    with pytest.raises(NotFound):
        second.heartbeat("qwen", "running")
    second.register(registration(url="http://10.0.0.8:8100"))
    with pytest.raises(Forbidden):
        first.heartbeat("qwen", "running")
    assert second.get("qwen")["host"] == "10.0.0.8"


def test_an_unowned_name_belongs_to_the_first_with_a_secret(client_with):
    for unowned_client in (client_with(), client_with(token=TOKEN)):
        unowned_client.register(registration())
        client_with("mine" * 8).heartbeat("qwen", "running")
        client_with("mine" * 8).register(registration())
        with pytest.raises(Forbidden):
            client_with().deregister("qwen")
        client_with("mine" * 8).deregister("qwen")


def test_an_operator_may_drain_a_service_of_any_owner(registry, client_with):
    client_with("mine" * 8).register(registration())
    assert requests.post(f"http://127.0.0.1:{registry.port}/services/qwen/drain", timeout=5).ok
    assert client_with().get("qwen")["drained"]


def test_secrets_tokens_and_digests_are_never_shown(registry, client_with, tmp_path):
    from svc.registry.leases.owner import digest

    secret = "never-to-be-seen-never-to-be-seen"
    client_with(secret).register(registration())
    for client in (client_with("another" * 8), client_with(token=TOKEN), client_with("ü" * 20)):
        try:
            client.update("qwen", {"weight": 3})
        except (SvcError, UnicodeEncodeError):
            continue
    base = f"http://127.0.0.1:{registry.port}"
    paths = ("/services", "/services/qwen", "/stats", "/health", "/metrics", "/services?index=0&wait=0")
    shown = "".join(requests.get(base + path, timeout=5).text for path in paths)
    for hidden in (secret, TOKEN, "another" * 8, digest(secret), '"owner"'):
        assert hidden not in shown + registry.log.read_text()
    for path in tmp_path.rglob("registry.db*"):
        assert secret.encode() not in path.read_bytes()
