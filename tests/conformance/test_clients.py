"""What docs/CLIENTS.md says of each client works as it stands there, without a key and with one."""

import json
import re
from pathlib import Path

import pytest

from tests.conformance import edit_tasks, record
from tests.conformance.clients import CLIENTS, Client
from tests.conformance.conftest import Routers
from tests.conformance.document import INTERPRETERS, KEY, MODEL, run_examples, run_program
from tests.integration.router.routers import router

ANSWER = "demo heard: Hello"
RESULTS = {
    "stream": ANSWER,
    "tool": {"city": "Hello"},
    "schema": {"colour": ANSWER},
    "responses": ANSWER,
    "embeddings": 64,
    "tokens": 6,
}
PROGRAMS = Path(__file__).parent / "programs"

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # with the installation
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
each_agent = pytest.mark.parametrize("client", [c for c in CLIENTS if c.edit_task], ids=lambda client: client.title)
each_program = pytest.mark.parametrize("client", [c for c in CLIENTS if c.program], ids=lambda client: client.title)


@each_client
def test_its_section_works_without_a_key_and_with_one(client: Client, routers: Routers, tmp_path: Path):
    client.environment.install()
    before = routers.paths()
    for name, url, key in (("open", routers.open.url, KEY), ("keyed", routers.keyed.url, routers.secret)):
        home = tmp_path / name
        home.mkdir()
        ended = run_examples(client.title, client.environment, url, key, home)
        assert ended.status == 0, f"{name}: {ended.output}"
        assert "demo heard:" in ended.output, name
    paths = sorted(path for path, count in routers.paths().items() if count > before.get(path, 0))
    packages = {client.environment.name: client.environment.version()}
    record.write("clients", client.title, {"packages": packages, "paths": paths})


@each_client
def test_a_wrong_key_ends_with_an_error(client: Client, routers: Routers, tmp_path: Path):
    client.environment.install()
    before = routers.paths()
    ended = run_examples(client.title, client.environment, routers.keyed.url, "sk-wrong", tmp_path)
    assert "demo heard:" not in ended.output
    assert re.search("API key|Not logged in", ended.output), ended.output
    assert routers.paths() == before


@each_agent
def test_an_agent_changes_a_file(client: Client, routers: Routers, tmp_path: Path):
    client.environment.install()
    task = client.edit_task
    assert task
    before = sum(routers.paths().values())
    file = tmp_path / edit_tasks.FILE
    file.write_text(edit_tasks.BEFORE)
    prompt = task.prompt.replace("DIRECTORY", str(tmp_path))
    ended = run_examples(
        client.title,
        client.environment,
        routers.keyed.url,
        routers.secret,
        tmp_path,
        arguments=task.arguments,
        PROMPT=prompt,
    )
    assert ended.status == 0, ended.output
    assert file.read_text() == edit_tasks.AFTER, ended.output
    assert sum(routers.paths().values()) - before >= task.requests, ended.output
    if task.requests > 1:
        assert re.search(r"demo heard: (.*\n){0,9}?two$", ended.output, re.M), "the last result has reached the model"
    record.write("clients", client.title, {"features": list(client.features)})


@each_agent
def test_an_agent_gives_up_a_model_that_is_unknown_with_404(client: Client, routers: Routers, tmp_path: Path):
    client.environment.install()
    with router("--static-services", routers.services, "--unknown-model-status", "404") as refusing:
        ended = run_examples(client.title, client.environment, refusing.url, KEY, tmp_path, model="demo-smal")
        metrics = refusing.get("/metrics").text
    assert "demo-smal" in ended.output
    assert ended.status is not None, ended.output
    (requests,) = re.findall(r'^svc_router_requests_total{model="unknown",status="404"} (\d+)', metrics, re.M)
    assert int(requests) <= 4


@each_program
def test_its_features_work(client: Client, routers: Routers, tmp_path: Path):
    client.environment.install()
    language = "python" if client.program.endswith(".py") else "javascript"
    program = (PROGRAMS / client.program).read_text()
    ended = run_program(
        [*INTERPRETERS[language], program],
        client.environment,
        tmp_path,
        ROUTER_URL=routers.keyed.url,
        KEY=routers.secret,
        MODEL=MODEL,
    )
    assert ended.status == 0, ended.output
    results = json.loads(ended.output.splitlines()[-1])
    assert results == {feature: RESULTS[feature] for feature in client.features}
    record.write("clients", client.title, {"features": list(client.features)})
