"""What a key may do: models, tokens, users behind a front, and an end."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from tests.integration.router.client import Client, post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
POLICIES: dict[str, dict[str, Any]] = {
    "free": {},
    "some": {"models": ("small*", "other-name")},
    "tokens": {"tokens_per_minute": 100, "requests_per_minute": 50},
    "tokens-anthropic": {"tokens_per_day": 100},
    "streams": {"tokens_per_minute": 100},
    "front": {"front": True, "requests_per_minute": 2},
    "users": {"front": True, "concurrency": 1},
    "no-front": {"requests_per_minute": 3},
    "expired": {"expires": NOW},
}
MODELS = ("small-1", "large")


def reply(peer: Peer, received: ReceivedRequest) -> None:
    """Answer with the usage that the request asks for."""
    usage = json.loads(received.body).get("usage", {})
    body = json.dumps({"model": json.loads(received.body).get("model"), "usage": usage}).encode()
    head = b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit-Tokens: 7\r\nContent-Type: application/json\r\n"
    peer.send(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))


class Site:
    def __init__(self, router: Router, instance: Instance) -> None:
        self.router = router
        self.instance = instance

    def post(self, key: str, body: dict[str, Any], path: str = "", **headers: str) -> requests.Response:
        headers["Authorization"] = f"Bearer secret-of-{key}"
        url = self.router.url + (path or "/v1/chat/completions")
        return requests.post(url, json={"model": "small-1"} | body, headers=headers, timeout=10)

    def get(self, key: str, path: str) -> requests.Response:
        headers = {"Authorization": f"Bearer secret-of-{key}"}
        return requests.get(self.router.url + path, headers=headers, timeout=10)

    def refusal(self, key: str, path: str = "", **headers: str) -> requests.Response:
        """Return the refusal that comes once what was used is counted, a moment after the response."""

        def refused() -> list[requests.Response]:
            response = self.post(key, {}, path, **headers)
            return [response] if response.status_code == 429 else []

        return wait_until(refused, 5, "the limit to be reached")[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    path, instance = tmp_path_factory.mktemp("policies"), Instance()
    with router_keys.editing(path / "keys.toml") as keys:
        for name, policy in POLICIES.items():
            keys[name] = KeyEntry(router_keys.digest(f"secret-of-{name}"), NOW, **policy)
    services = static(path / "static.json", [service("m", instance.port, *MODELS)])
    flags = ("--keys-file", path / "keys.toml", "--aliases", "other-name=large", "--aliases", "hidden-name=small-1")
    with router("--static-services", services, *flags) as running:
        instance.script = reply
        yield Site(running, instance)
        running.assert_no_exception()
    instance.close()


# Models.


def test_a_model_that_a_key_may_not_use_does_not_exist_for_it(site: Site):
    for path in ("/v1/chat/completions", "/v1/messages"):
        forbidden = site.post("some", {"model": "large"}, path)
        unknown = site.post("some", {"model": "giant"}, path)
        assert forbidden.status_code == unknown.status_code == (404 if path == "/v1/messages" else 503)
        assert forbidden.text.replace("large", "giant") == unknown.text
        assert forbidden.headers.keys() == unknown.headers.keys()
        assert site.post("free", {"model": "large"}, path).status_code == 200
    assert site.post("some", {}).json()["model"] == "small-1"


def test_patterns_hold_for_the_name_that_the_client_sends(site: Site):
    assert site.post("some", {"model": "other-name"}).json()["model"] == "large"
    assert site.post("some", {"model": "hidden-name"}).status_code == 503


def test_lists_of_models_have_only_what_the_key_may_use(site: Site):
    for path in ("/v1/models", "/models"):
        assert {model["id"] for model in site.get("some", path).json()["data"]} == {"small-1", "other-name"}
        assert {model["id"] for model in site.get("free", path).json()["data"]} == {
            "small-1",
            "large",
            "other-name",
            "hidden-name",
        }
    assert site.get("some", "/v1/models/small-1").status_code == 200
    assert site.get("some", "/v1/models/large").status_code == 404
    assert site.get("some", "/v1/models/large").text.replace("large", "giant") == (
        site.get("some", "/v1/models/giant").text
    )


@pytest.mark.parametrize("path", ["/services", "/stats", "/ui/stream"])
def test_a_key_with_some_models_may_not_see_all_instances(site: Site, path: str):
    assert site.get("some", path).status_code == 403
    if path != "/ui/stream":
        assert site.get("free", path).status_code == 200


def test_a_key_with_some_models_has_to_name_one(site: Site):
    refusal = site.post("some", {"model": ""})
    assert (refusal.status_code, refusal.json()["error"]["param"]) == (400, "model")
    assert site.get("some", "/api/tags").status_code == 400
    headers = {"Authorization": "Bearer secret-of-some", "Content-Type": "application/octet-stream"}
    body = b'{"model": "large"}'
    url = site.router.url + "/v1/chat/completions?model=small-1"
    assert requests.post(url, data=body, headers=headers, timeout=10).status_code == 415


# Tokens.


def test_tokens_that_were_used_count_and_headers_say_what_is_left(site: Site):
    first = site.post("tokens", {"usage": {"prompt_tokens": 100, "completion_tokens": 50}})
    assert first.headers["x-ratelimit-limit-tokens"] == first.headers["x-ratelimit-remaining-tokens"] == "100"
    assert first.headers["x-ratelimit-limit-requests"] == "50"
    assert first.headers["x-ratelimit-remaining-requests"] == "49"
    refusal = site.refusal("tokens")
    assert "key tokens on tokens per min (TPM): Limit 100" in refusal.json()["error"]["message"]
    assert refusal.json()["error"]["code"] == "rate_limit_exceeded"
    assert refusal.headers["x-ratelimit-remaining-tokens"] == "0"
    assert 25 <= int(refusal.headers["Retry-After"]) <= 32
    headers = site.post("free", {}).headers
    assert {name.lower() for name in headers if name.lower().startswith("x-ratelimit")} == {"x-ratelimit-limit-tokens"}
    assert headers["x-ratelimit-limit-tokens"] == "7", "the instance's own passes if the key has no limits"


def test_anthropics_clients_get_the_limit_in_anthropics_format(site: Site):
    site.post("tokens-anthropic", {"usage": {"input_tokens": 10, "output_tokens": 190}}, "/v1/messages")
    refusal = site.refusal("tokens-anthropic", "/v1/messages")
    assert (refusal.json()["type"], refusal.json()["error"]["type"]) == ("error", "rate_limit_error")
    assert "tokens per day (TPD): Limit 100" in refusal.json()["error"]["message"]
    assert refusal.headers["x-should-retry"] == "false"


def test_the_events_of_a_stream_without_usage_count_as_tokens(site: Site):
    event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    site.instance.script = lambda peer, received: peer.send(CHUNKED + chunk(event) * 150 + b"0\r\n\r\n")
    with Client(site.router.port) as client:
        client.send(post({"model": "small-1", "stream": True}, b"Authorization: Bearer secret-of-streams"))
        assert client.answer().body.count(b"data:") == 150
    site.instance.script = reply
    assert "(TPM): Limit 100" in site.refusal("streams").json()["error"]["message"]


# Users.


def test_each_user_of_a_front_has_the_limits_for_itself(site: Site):
    for user in ("alice", "bob"):
        for _ in range(2):
            assert site.post("front", {}, **{"X-OpenWebUI-User-Id": user}).status_code == 200
    refusal = site.refusal("front", **{"X-OpenWebUI-User-Id": "alice"})
    assert "key front and user alice on requests per min (RPM): Limit 2" in refusal.json()["error"]["message"]
    assert site.post("front", {}).status_code == 200, "without a user, the request counts for the key"


def test_the_requests_in_flight_of_one_user_do_not_count_for_another(site: Site):
    site.instance.script = lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n"))
    alice = (b"X-OpenWebUI-User-Id: alice", b"Authorization: Bearer secret-of-users")
    with Client(site.router.port) as stream:
        stream.send(post({"model": "small-1"}, *alice)).head()
        stream.chunk()
        site.instance.script = reply
        assert "concurrent" in site.refusal("users", **{"X-OpenWebUI-User-Id": "alice"}).text
        assert site.post("users", {}, **{"X-OpenWebUI-User-Id": "bob"}).status_code == 200
    wait_until(lambda: site.post("users", {}, **{"X-OpenWebUI-User-Id": "alice"}).status_code == 200, 5)


def test_a_key_that_is_no_fronts_may_not_name_users(site: Site):
    for number in range(3):
        assert site.post("no-front", {}, **{"X-OpenWebUI-User-Id": f"user{number}"}).status_code == 200
    assert "key no-front on requests" in site.refusal("no-front", **{"X-OpenWebUI-User-Id": "new"}).text


def test_the_address_of_a_front_is_enough_with_any_key(tmp_path: Path):
    instance = Instance()
    instance.script = reply
    with router_keys.editing(tmp_path / "keys.toml") as keys:
        keys["web"] = KeyEntry(router_keys.digest("secret-of-web"), NOW, requests_per_minute=1)
    services = static(tmp_path / "static.json", [service("m", instance.port, *MODELS)])
    flags = ("--keys-file", tmp_path / "keys.toml", "--trusted-fronts", "127.0.0.0/8", "--user-headers", "X-User")
    with router("--static-services", services, *flags) as running:
        own = Site(running, instance)
        assert own.post("web", {}, **{"X-User": "alice"}).status_code == 200
        assert "user alice" in own.refusal("web", **{"X-User": "alice"}).text
        assert own.post("web", {}, **{"X-User": "bob"}).status_code == 200
    instance.close()


# The end.


def test_an_expired_key_is_refused_and_the_client_learns_why(site: Site):
    refusal = site.post("expired", {})
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "expired on 2026-01-02" in refusal.json()["error"]["message"]
    assert site.get("expired", "/v1/models").status_code == 401


def test_a_restart_forgets_nothing_that_counts_for_a_day(tmp_path: Path):
    instance = Instance()
    instance.script = reply
    with router_keys.editing(tmp_path / "keys.toml") as keys:
        keys["day"] = KeyEntry(router_keys.digest("secret-of-day"), NOW, tokens_per_day=1000)
    services = static(tmp_path / "static.json", [service("m", instance.port, *MODELS)])
    flags = (
        "--keys-file",
        tmp_path / "keys.toml",
        "--usage-file",
        tmp_path / "usage.db",
        "--static-services",
        services,
    )
    with router(*flags) as running:
        used = {"prompt_tokens": 100_000, "completion_tokens": 1}
        assert Site(running, instance).post("day", {"usage": used}).status_code == 200
        Site(running, instance).refusal("day")
        running.process.terminate()
        assert running.process.wait(20) == 0
    with router(*flags) as running:
        refusal = Site(running, instance).post("day", {})
        assert refusal.status_code == 429
        assert "tokens per day (TPD): Limit 1000" in refusal.text
    instance.close()
