"""What registry, router, babysitters and instances say when they are asked. It acts, and changes nothing."""

import dataclasses
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from svc.base.address import is_loopback
from svc.base.http import fetch
from svc.base.parallel import run_parallel
from svc.base.secret_file import read_token
from svc.base.version import HEADER
from svc.client.router import HEALTH_PATH, METRICS_PATH, READY_PATH, SERVICES_PATH
from svc.config.upstream_keys import UpstreamKeys
from svc.doctor.collect.machine import reach
from svc.doctor.facts import Answer, Registry, Router, Sidecar
from svc.protocol.engine_key import bearer
from svc.site.components import Component

PATIENCE = 3.0  # seconds that an answer may take
CHECK_PATIENCE = 8.0  # of the registry's check, which has its own timeout
INFERENCE_PATH = "/v1/chat/completions"
TEXT = 200_000  # characters of what is no JSON


def get(
    url: str, token_file: str = "", patience: float = PATIENCE, method: str = "GET", body: Any = None, key: str = ""
) -> Answer:
    """The answer of one request; `key` is an engine's API key."""
    try:
        headers = {"Authorization": f"Bearer {read_token(token_file)}"} if token_file else bearer(key)
    except OSError as error:
        return Answer(url, error=f"{token_file}: {(error.strerror or '').lower()}")
    began = time.time()
    try:
        answer = fetch(method, url, patience, verify=False, headers=headers, json=body)
    except (requests.RequestException, OSError, ValueError) as error:
        return Answer(url, error=reason(error))
    middle = (began + time.time()) / 2
    try:
        decoded = answer.json()
    except ValueError:
        decoded = None
    told = decoded.get("timestamp") if isinstance(decoded, dict) else None
    clock = moment(told, answer.headers.get("Date"))
    version = answer.headers.get(HEADER, "")
    text = answer.text[:TEXT] if decoded is None else ""
    return Answer(url, answer.status_code, decoded, text, "", version, None if clock is None else clock - middle)


def moment(timestamp: Any, date: str | None) -> float | None:
    """Unix seconds by a clock that was told; a Date header has whole seconds."""
    try:
        if isinstance(timestamp, str):
            return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
        return parsedate_to_datetime(date).timestamp() + 0.5 if date else None
    except (ValueError, TypeError):
        return None


def reason(error: BaseException) -> str:
    """Why there is no answer, in words that say what to look at."""
    text = repr(error)
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    for sign, words in (
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
        if sign.lower() in text.lower():
            return words
    return type(error).__name__


def registry(url: str, here: bool, read_token: str, write_tokens: list[str], instances: list[str]) -> Registry:
    """`instances`: those that the registry is asked to check now.

    Whether a token may write is seen by an empty registration: it is refused for
    its content where the token is good, and for the token where it is not.
    """
    url = url.rstrip("/")
    looks: dict[str, Callable[[], Answer]] = {
        "health": lambda: get(f"{url}/health"),
        "list": lambda: get(f"{url}/services", read_token),
    }
    first = run_parallel(looks, PATIENCE + 1)
    health, listing = first["health"], first["list"]
    if not isinstance(health, Answer) or not isinstance(listing, Answer):
        late = Answer(url, error="it does not answer in time")
        return Registry(url, here, late, late)
    if health.error:
        return Registry(url, here, health, listing)
    found = Registry(url, here, health, listing)
    known = found.services()
    more: dict[str, Callable[[], Answer]] = {
        f"write {token}": lambda token=token: get(f"{url}/services", token, method="POST", body={})  # type: ignore[misc]
        for token in write_tokens
    }
    more |= {
        f"check {name}": lambda name=name: get(f"{url}/services/{name}/health", read_token, CHECK_PATIENCE)  # type: ignore[misc]
        for name in instances
        if name in known
    }
    second = run_parallel(more, CHECK_PATIENCE + 1)
    told = {key: answer for key, answer in second.items() if isinstance(answer, Answer)}
    writes = {key.removeprefix("write "): a for key, a in told.items() if key.startswith("write ")}
    checks = {key.removeprefix("check "): a for key, a in told.items() if key.startswith("check ")}
    return Registry(url, here, health, listing, writes, checks)


def sidecar(component: Component, keys: UpstreamKeys | None) -> Sidecar:
    """An instance may listen on one address only, the one that others have.

    A GET of an inference path generates nothing: an engine answers it 401 or 405. `keys`: None where the router's
    keys are not known.
    """
    inside = get(f"{component.own_url}/v1/models")
    outside = None if is_loopback(component.host) else get(f"{component.url}/v1/models")
    models = outside if inside.error and outside and not outside.error else inside
    info = get(f"{component.babysitter_url}/info")
    found = Sidecar(info, get(component.health_url), models, outside)
    if keys is None:
        return found
    key = keys.find(component.service_name, info.get("models") or [])
    inference = get(models.url.removesuffix("/v1/models") + INFERENCE_PATH, key=key)
    return dataclasses.replace(found, inference=inference, router_key=bool(key))


def router(url: str, here: bool) -> Router:
    paths = {"health": HEALTH_PATH, "ready": READY_PATH, "services": SERVICES_PATH, "metrics": METRICS_PATH}
    found = run_parallel({key: (lambda path=path: get(url + path)) for key, path in paths.items()}, PATIENCE + 1)  # type: ignore[misc]
    late = Answer(url, error="it does not answer in time")
    told = {key: answer if isinstance(answer, Answer) else late for key, answer in found.items()}
    made = Router(url, here, told["health"], told["ready"], told["services"], told["metrics"])
    if not here:
        return made
    unwell = [s for s in made.instances().values() if not s.get("healthy") and s.get("status") == "running"]
    looks = {s["name"]: (lambda s=s: reach(str(s["host"]), int(s["port"]), PATIENCE)) for s in unwell}
    reached = {name: why for name, why in run_parallel(looks, PATIENCE + 1).items() if isinstance(why, str)}
    return dataclasses.replace(made, reached=reached)
