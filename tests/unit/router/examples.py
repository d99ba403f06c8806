"""Example requests, instances and router states for tests."""

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
    uri: bytes = b"/v1/chat/completions",
    **special: bytes,
) -> Request:
    named = {name.replace("_", "-").encode(): value for name, value in special.items()}
    return Request(RequestHead(method, uri, headers, named), body)


def target(name: str, *models: str, **more: Any) -> Target:
    fields = {"host": "127.0.0.1", "port": 8100, "url": f"http://{name}:8100", **more}
    return Target(name=name, models=models, **fields)


def state(*targets: Target, clock: Clock | None = None, **settings: Any) -> RouterState:
    router = RouterState(RouterSettings(**settings), clock or Clock())
    router.replace_targets(targets)
    return router


def service(name: str, *models: str, **more: Any) -> dict[str, Any]:
    """Return a service as the registry lists it."""
    metadata = {"type": "openai-api", "models": list(models), **more.pop("metadata", {})}
    fields = {"name": name, "host": "h", "port": 8100, "hostname": "h", "url": "http://h:8100", "status": "running"}
    return {**fields, "metadata": metadata, **more}


TABLE = CachedTable(
    "http://r", 7, [target("a", "m", "n", weight=3, metadata={"max_concurrency": 2}), target("b", secure=True)]
)
