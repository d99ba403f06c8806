"""Real engines in a site: each becomes ready, is routed to, and serves the APIs that the table of CLIENTS.md says."""

import json
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import record
from tests.conformance.engines import ENGINES, MODEL, PATHS, Engine
from tests.e2e.sites import Site, http
from tests.waiting import free_port_pair

MESSAGES = [{"role": "user", "content": "Hello"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 4},
    "/v1/completions": {"prompt": "Hello", "max_tokens": 4},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 4},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 4},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
    "/v1/embeddings": {"input": "Hello"},
}


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp")))
    yield made
    made.end()


@pytest.mark.long
@pytest.mark.timeout(1800)  # with the installation
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.title)
def test_an_engine_serves_through_the_router(engine: Engine, site: Site):
    if engine.environment:
        engine.environment.install()
    port = free_port_pair()
    command, *arguments = engine.arguments(port)
    metadata = f"[metadata]\n{engine.metadata}" if engine.metadata else ""
    site.toml("engine", port, f'command = "{command}"\nargs = {json.dumps(arguments)}\n{metadata}')
    site.svc("up", timeout=180)
    assert [model["id"] for model in http.get(f"{site.router}/v1/models", timeout=30).json()["data"]] == [MODEL]
    assert engine.paths == tuple(path for path in PATHS if _serves(path, site, port))
    chunks = list(_stream(site))
    assert len(chunks) > 1
    assert any(chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"])
    name, installed = (
        (engine.environment.name, engine.environment.version())
        if engine.environment
        else ("xllamacpp", version("xllamacpp"))
    )
    record.write("engines", engine.title, {"packages": {name: installed}, "paths": list(engine.paths)})


def _serves(path: str, site: Site, port: int) -> bool:
    """Return whether the engine serves the path: through the router, except for the list, which is the router's own."""
    if path not in BODIES:
        return http.get(f"http://127.0.0.1:{port}{path}", timeout=60).ok
    return http.post(f"{site.router}{path}", json={"model": MODEL, **BODIES[path]}, timeout=60).ok


def _stream(site: Site) -> Iterator[Any]:
    body = {"model": MODEL, **BODIES["/v1/chat/completions"], "stream": True}
    with http.post(f"{site.router}/v1/chat/completions", json=body, stream=True, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))
