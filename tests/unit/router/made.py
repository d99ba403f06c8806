"""Requests, instances and states to test with."""

from typing import Any

from svc.router.balance.target import Target
from svc.router.http.request import Request, RequestHead
from svc.router.sources.table_cache import CachedTable
from svc.router.state import RouterState
from svc.settings import RouterSettings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(
    body: bytes = b"",
    *headers: tuple[bytes, bytes],
    method: bytes = b"POST",
    target: bytes = b"/v1/chat/completions",
    **special: bytes,
) -> Request:
    named = {name.replace("_", "-").encode(): value for name, value in special.items()}
    return Request(RequestHead(method, target, headers, named), body)


def target(name: str, *models: str, **more: Any) -> Target:
    told = {"host": "127.0.0.1", "port": 8100, "url": f"http://{name}:8100", **more}
    return Target(name=name, models=models, **told)


def state(*targets: Target, clock: Clock | None = None, **settings: Any) -> RouterState:
    made = RouterState(RouterSettings(**settings), clock or Clock())
    made.replace_targets(targets)
    return made


def service(name: str, *models: str, **more: Any) -> dict[str, Any]:
    """As the registry lists it."""
    metadata = {"type": "openai-api", "models": list(models), **more.pop("metadata", {})}
    told = {"name": name, "host": "h", "port": 8100, "hostname": "h", "url": "http://h:8100", "status": "running"}
    return {**told, "metadata": metadata, **more}


TABLE = CachedTable(
    "http://r", 7, [target("a", "m", "n", weight=3, metadata={"max_concurrency": 2}), target("b", secure=True)]
)
