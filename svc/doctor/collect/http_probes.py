"""Requests facts from the registry, the router, babysitters and instances. The requests change nothing."""

import dataclasses
import functools
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests

from svc.base.address import is_loopback, is_wildcard
from svc.base.errors import ConfigError
from svc.base.http import fetch
from svc.base.parallel import run_parallel
from svc.base.token_file import first_token
from svc.base.version import HEADER
from svc.client.babysitter import INFO_PATH
from svc.client.router import HEALTH_PATH, METRICS_PATH, READY_PATH, SERVICES_PATH
from svc.config.upstream_keys import UpstreamKeys
from svc.doctor.collect.machine_facts import connect_error
from svc.doctor.facts import InstanceProbe, Poisoning, RegistryFacts, RouterFacts
from svc.doctor.http_result import HttpResult
from svc.protocol.engine_key import bearer
from svc.site.components import Component

HTTP_TIMEOUT_SECONDS = 3.0
CHECK_TIMEOUT_SECONDS = 8.0  # longer than the timeout of the health check that this request starts in the registry
INFERENCE_PATH = "/v1/chat/completions"
MAX_TEXT_CHARACTERS = 200_000  # a longer body that is not JSON is cut


def ask(
    url: str,
    token_file: str = "",
    timeout: float = HTTP_TIMEOUT_SECONDS,
    method: str = "GET",
    body: Any = None,
    key: str = "",
) -> HttpResult:
    """Send one request and return the response; `key` is an engine's API key."""
    try:
        headers = {"Authorization": f"Bearer {first_token(Path(token_file))}"} if token_file else bearer(key)
    except OSError as error:
        return HttpResult(url, error=f"{token_file}: {(error.strerror or '').lower()}")
    except ConfigError as error:
        return HttpResult(url, error=error.problems[0])
    began = time.time()
    try:
        response = fetch(method, url, timeout, verify=False, headers=headers, json=body)
    except (requests.RequestException, OSError, ValueError) as error:
        return HttpResult(url, error=error_text(error))
    middle = (began + time.time()) / 2
    try:
        decoded = response.json()
    except ValueError:
        decoded = None
    timestamp = decoded.get("timestamp") if isinstance(decoded, dict) else None
    clock = unix_time(timestamp, response.headers.get("Date"))
    version = response.headers.get(HEADER, "")
    text = response.text[:MAX_TEXT_CHARACTERS] if decoded is None else ""
    return HttpResult(url, response.status_code, decoded, text, "", version, None if clock is None else clock - middle)


def unix_time(timestamp: Any, date: str | None) -> float | None:
    """Return the Unix seconds of `timestamp`, else of the Date header `date`; None if that cannot be parsed.

    Half a second is added to a Date header, because it has only whole seconds.
    """
    try:
        if isinstance(timestamp, str):
            return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
        return parsedate_to_datetime(date).timestamp() + 0.5 if date else None
    except (ValueError, TypeError):
        return None


def error_text(error: BaseException) -> str:
    """Return a text for the operator that explains why there is no response."""
    error_name = repr(error)
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    for pattern, text in (
        ("NameResolution", "its name is not known (DNS)"),
        ("gaierror", "its name is not known (DNS)"),
        ("refused", "connection refused: nothing listens there"),
        ("unreachable", "its network cannot be reached"),
        ("No route", "there is no route to it"),
        ("CERTIFICATE", "its certificate is not believed"),
        ("SSL", "it does not speak TLS as it should"),
        ("reset", "it closes the connection"),
        ("closed connection", "it closes the connection"),
        ("Disconnected", "it closes the connection"),
        ("InvalidURL", "its URL is wrong"),
        ("header", "the token is no word that can be sent"),
    ):
        if pattern.lower() in error_name.lower():
            return text
    return type(error).__name__


def registry(url: str, is_local: bool, read_token: str, write_tokens: list[str], instances: list[str]) -> RegistryFacts:
    """Return the facts of a registry: its health, its list, its checks of `instances`, and its answer to each token.

    Each write token is tested with an empty registration, which a registry refuses even if it accepts the token.
    """
    url = url.rstrip("/")
    reads: dict[str, Callable[[], HttpResult]] = {
        "health": lambda: ask(f"{url}/health"),
        "list": lambda: ask(f"{url}/services", read_token),
    }
    results = run_parallel(reads, HTTP_TIMEOUT_SECONDS + 1)
    health, listing = results["health"], results["list"]
    if not isinstance(health, HttpResult) or not isinstance(listing, HttpResult):
        late = HttpResult(url, error="it does not answer in time")
        return RegistryFacts(url, is_local, late, late)
    if health.error:
        return RegistryFacts(url, is_local, health, listing)
    listed = RegistryFacts(url, is_local, health, listing).services()
    more: dict[str, Callable[[], HttpResult]] = {
        f"write {token}": functools.partial(ask, f"{url}/services", token, method="POST", body={})
        for token in write_tokens
    }
    more |= {
        f"check {name}": functools.partial(ask, f"{url}/services/{name}/health", read_token, CHECK_TIMEOUT_SECONDS)
        for name in instances
        if name in listed
    }
    more["poisonings"] = lambda: ask(f"{url}/events?kind=poisoned", read_token)
    results = run_parallel(more, CHECK_TIMEOUT_SECONDS + 1)
    responses = {key: result for key, result in results.items() if isinstance(result, HttpResult)}
    writes = {key.removeprefix("write "): r for key, r in responses.items() if key.startswith("write ")}
    checks = {key.removeprefix("check "): r for key, r in responses.items() if key.startswith("check ")}
    events = responses["poisonings"].get("events") if "poisonings" in responses else None
    return RegistryFacts(url, is_local, health, listing, writes, checks, poisonings(events))


def poisonings(events: Any) -> list[Poisoning]:
    """Return the valid events `poisoned` in a registry's answer; [] for any other answer, as of an older registry."""
    fields = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
    return [
        Poisoning(at, event["service"], event["message"])
        for event in fields
        if isinstance(event.get("service"), str)
        and isinstance(event.get("message"), str)
        and (at := unix_time(event.get("time"), None)) is not None
    ]


def instance(component: Component, keys: UpstreamKeys | None) -> InstanceProbe:
    """Return the responses of an instance and its babysitter. `keys` is None if the router's keys are unknown.

    Requests go to the instance's loopback address and to its registered address, because it may listen on one of them
    only. A GET of an inference path generates nothing, but shows whether the engine accepts the router's key: the
    status is 405 if it does, else 401.
    """
    inside = ask(f"{component.own_url}/v1/models")
    outside = None if is_loopback(component.host) or is_wildcard(component.host) else ask(f"{component.url}/v1/models")
    models = outside if inside.error and outside and not outside.error else inside
    info = ask(component.babysitter_url + INFO_PATH)
    probe = InstanceProbe(info, ask(component.health_url), models, outside)
    if keys is None:
        return probe
    key = keys.find(component.service_name, info.get("models") or [])
    inference = ask(models.url.removesuffix("/v1/models") + INFERENCE_PATH, key=key)
    return dataclasses.replace(probe, inference=inference, router_key=bool(key))


def router(url: str, is_local: bool) -> RouterFacts:
    """Return a router's responses. If it is local, also try to connect to each instance that it lists as unhealthy."""
    paths = {"health": HEALTH_PATH, "ready": READY_PATH, "services": SERVICES_PATH, "metrics": METRICS_PATH}
    calls = {key: functools.partial(ask, url + path) for key, path in paths.items()}
    results = run_parallel(calls, HTTP_TIMEOUT_SECONDS + 1)
    late = HttpResult(url, error="it does not answer in time")
    responses = {key: result if isinstance(result, HttpResult) else late for key, result in results.items()}
    facts = RouterFacts(
        url, is_local, responses["health"], responses["ready"], responses["services"], responses["metrics"]
    )
    if not is_local:
        return facts
    unhealthy = [s for s in facts.instances().values() if not s.get("healthy") and s.get("status") == "running"]
    attempts = {
        s["name"]: functools.partial(connect_error, str(s["host"]), int(s["port"]), HTTP_TIMEOUT_SECONDS)
        for s in unhealthy
    }
    errors = run_parallel(attempts, HTTP_TIMEOUT_SECONDS + 1)
    return dataclasses.replace(
        facts, connect_errors={name: error for name, error in errors.items() if isinstance(error, str)}
    )
