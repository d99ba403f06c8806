"""Whose a name is, asked of a real registry over HTTP."""

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
    one = Registry(tmp_path, "--host", "0.0.0.0", "--token-file", "token").start()
    yield one
    one.end()


@pytest.fixture
def speak(registry, tmp_path):
    """A client with a secret or none, with the right token, a wrong one or none, from here or from afar."""

    def client(secret="", token="", far=False):
        path = tmp_path / f"token-{secrets.token_hex(4)}"
        path.write_text(token)
        host = other_address() if far else "127.0.0.1"
        return RegistryClient(f"http://{host}:{registry.port}", str(path) if token else "", secret=secret)

    return client


WRITES = {
    "register": lambda c: c.register(registration(url="http://10.0.0.66:8100")),
    "heartbeat": lambda c: c.heartbeat("qwen", "draining"),
    "update": lambda c: c.update("qwen", {"status": "draining"}),
    "deregister": lambda c: c.deregister("qwen"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_name_is_its_registrants_while_its_lease_holds(speak, write):
    owner = speak("mine" * 8)
    owner.register(registration())
    before = owner.get("qwen")
    for other in (speak("others" * 8), speak(), speak("others" * 8, token=TOKEN), speak(token="guessed")):
        with pytest.raises(Forbidden, match="belongs to the babysitter on gpu7"):
            write(other)
    assert owner.get("qwen") == before
    write(owner)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_operators_token_overrides(speak, write):
    speak("mine" * 8).register(registration())
    write(speak(token=TOKEN))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_operators_token_overrides_from_afar_too(speak, write):
    speak("mine" * 8).register(registration())
    write(speak(token=TOKEN, far=True))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_from_afar_a_wrong_or_missing_token_is_no_matter_of_secrets(speak, write):
    speak("mine" * 8).register(registration())
    for token in ("", "guessed"):
        with pytest.raises(Unauthorized, match="token"):
            write(speak("mine" * 8, token=token, far=True))
    write(speak("mine" * 8, token=TOKEN, far=True))


def test_the_answer_says_whose_it_is_not_and_what_to_do(registry, speak):
    speak("mine" * 8).register(registration())
    answer = requests.delete(f"http://127.0.0.1:{registry.port}/services/qwen", timeout=5)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (403, "not_owner", "permission_error")
    for word in ("qwen", "gpu7", "http://10.0.0.7:8100", "choose another name", "token"):
        assert word in error["message"]
    assert (
        "svc_registry_refusals_total 1.0" in requests.get(f"http://127.0.0.1:{registry.port}/metrics", timeout=5).text
    )


def test_an_owner_is_known_again_after_a_restart_of_the_registry(registry, speak):
    speak("mine" * 8).register(registration())
    registry.end()
    registry.start()
    with pytest.raises(Forbidden):
        speak("others" * 8).register(registration())
    speak("mine" * 8).register(registration())


def test_a_lease_that_has_ended_leaves_the_name_to_whom_registers_next(speak):
    first, second = speak("first" * 8), speak("second" * 8)
    first.register(registration(lease_seconds=1))
    wait_until(lambda: not first.get("qwen")["is_healthy"])
    with pytest.raises(NotFound):
        second.heartbeat("qwen", "running")
    second.register(registration(url="http://10.0.0.8:8100"))
    with pytest.raises(Forbidden):
        first.heartbeat("qwen", "running")
    assert second.get("qwen")["host"] == "10.0.0.8"


def test_what_the_operator_or_nobody_registered_is_open_to_the_first_with_a_secret(speak):
    for claimless in (speak(), speak(token=TOKEN)):
        claimless.register(registration())
        speak("mine" * 8).heartbeat("qwen", "running")
        speak("mine" * 8).register(registration())
        with pytest.raises(Forbidden):
            speak().deregister("qwen")
        speak("mine" * 8).deregister("qwen")


def test_draining_is_the_operators_whoever_owns_the_name(registry, speak):
    speak("mine" * 8).register(registration())
    assert requests.post(f"http://127.0.0.1:{registry.port}/services/qwen/drain", timeout=5).ok
    assert speak().get("qwen")["drained"]


def test_neither_secret_nor_token_nor_digest_is_told_or_kept_anywhere(registry, speak, tmp_path):
    from svc.registry.leases.owner import digest

    secret = "never-to-be-seen-never-to-be-seen"
    speak(secret).register(registration())
    for client in (speak("another" * 8), speak(token=TOKEN), speak("ü" * 20)):
        try:
            client.update("qwen", {"weight": 3})
        except (SvcError, UnicodeEncodeError):
            continue
    base = f"http://127.0.0.1:{registry.port}"
    paths = ("/services", "/services/qwen", "/stats", "/health", "/metrics", "/services?index=0&wait=0")
    shown = "".join(requests.get(base + path, timeout=5).text for path in paths)
    for word in (secret, TOKEN, "another" * 8, digest(secret), '"owner"'):
        assert word not in shown + registry.log.read_text()
    for path in tmp_path.rglob("registry.db*"):
        assert secret.encode() not in path.read_bytes()
