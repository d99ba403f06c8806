"""The ledger end to end: what it counts is what the engines have counted, and its file costs no request."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from svc.protocol.usage import UsageRow
from svc.router.usage.usage_file import read_rows
from tests.fork_server import run_svc
from tests.integration.router.client import Client, post
from tests.integration.router.engine import Engine, ask, usage
from tests.integration.router.routers import BIN, Router, router, running, service, static
from tests.waiting import free_port, wait_until

MAX_FILE_BYTES = 40 << 10  # enough to create the file
LIMIT_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture(scope="module")
def services(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    refusing = Engine(refuses=True)
    entries = [service("a", engine.port, "m"), service("refusing", refusing.port, "m")]
    yield static(tmp_path_factory.mktemp("usage") / "static.json", entries)
    refusing.close()


def total(path: Path) -> UsageRow:
    rows = read_rows(path, (), 0, 2**40)
    return rows[0] if rows else UsageRow()


def test_the_ledger_equals_the_counters_of_the_engines(engine: Engine, services: Path, tmp_path: Path):
    path = tmp_path / "usage.db"
    flags = ("--static-services", services, "--usage-file", path, "--policy", "round_robin", "--max-errors", 1000)
    prompt, completion = engine.prompt, engine.completion
    unreported = reported_prompts = 0
    with router(*flags) as relay:
        for round_ in range(6):
            tokens, size = 20 + round_, 100 * round_
            for kind in ("whole", "usage", "stream", "cut", "open", "error"):
                ask(relay.port, kind, tokens if kind == "open" else None, tokens=tokens, prompt_tokens=size)
                if kind in ("whole", "usage"):
                    reported_prompts += size
                elif kind != "error":
                    unreported += tokens
        wait_until(lambda: total(path).requests == 36, description="the requests in the file")
        relay.assert_no_exception()
    row = total(path)
    assert engine.prompt - prompt > reported_prompts > 0
    assert row.completion == engine.completion - completion
    assert row.prompt - (row.estimated - unreported) == reported_prompts
    assert (row.requests, row.failed) == (36, 12)
    assert row.stream_seconds > 0


def test_a_killed_router_loses_neither_lines_nor_running_streams(engine: Engine, services: Path, tmp_path: Path):
    path = tmp_path / "usage.db"
    with router("--static-services", services, "--usage-file", path) as relay:
        for _ in range(5):
            ask(relay.port, "whole", tokens=7)
        with Client(relay.port) as client:
            client.send(post({"model": "m", "stream": True, "kind": "open", "tokens": 100}))
            client.head()
            wait_until(lambda: total(path).completion >= 35 + 90, description="the running stream in the file")
            os.killpg(relay.process.pid, signal.SIGKILL)
            relay.process.wait(10)
    row = total(path)
    assert row.requests == 5
    assert 125 <= row.completion <= 135
    with router("--static-services", services, "--usage-file", path) as relay:
        ask(relay.port, "whole", tokens=7)
        wait_until(lambda: total(path).requests == 6, description="the next router to go on")


def test_a_full_disk_costs_no_request_and_is_reported(engine: Engine, services: Path, tmp_path: Path):
    path, port = tmp_path / "usage.db", free_port()
    flags = ("--static-services", str(services), "--usage-file", str(path), "--port", str(port))
    command = [sys.executable, "-c", LIMIT_FILES, str(MAX_FILE_BYTES), str(BIN / "svc"), "router", *flags]
    with running(command, port) as relay:
        wait_until(relay.ready, description="the router to be ready")

        def is_reported() -> bool:
            assert b"usage" in ask(relay.port, "whole", tokens=1)
            return "cannot write the usage" in relay.output()

        wait_until(is_reported, description="the full disk to be reported")
        for _ in range(5):
            assert b"usage" in ask(relay.port, "whole", tokens=1)
        relay.assert_no_exception()
        assert relay.output().count("cannot write the usage") == 1
        assert unwritten(relay) > 0


def test_svc_usage_reports_what_a_full_disk_keeps_from_the_file(engine: Engine, services: Path, tmp_path: Path):
    (tmp_path / "var").mkdir()
    path, keys, port = tmp_path / "var/usage.db", tmp_path / "var/keys.toml", free_port()
    secret = run_svc("keys", "add", "ci", "--file", keys, cwd=tmp_path)[0].strip()
    flags = (
        "--static-services",
        str(services),
        "--usage-file",
        str(path),
        "--keys-file",
        str(keys),
        "--port",
        str(port),
    )
    command = [sys.executable, "-c", LIMIT_FILES, str(MAX_FILE_BYTES), str(BIN / "svc"), "router", *flags]
    with running(command, port) as relay:
        wait_until(relay.ready, description="the router to be ready")

        def is_reported() -> bool:
            assert b"usage" in ask(relay.port, "whole", None, f"Authorization: Bearer {secret}".encode(), tokens=1)
            return "cannot write the usage" in relay.output()

        wait_until(is_reported, description="the full disk to be reported")
        _, errors = run_svc("usage", cwd=tmp_path, env={**os.environ, "ROUTER_URL": relay.url})
    assert "not complete" in errors
    assert "requests in its memory only" in errors


def unwritten(relay: Router) -> float:
    lines = relay.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("svc_router_usage_unwritten_requests "))


@pytest.fixture(scope="module")
def relay(services: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router that has answered three requests: two of them for chat, of which one had no usage."""
    with router("--static-services", services, "--usage-file", tmp_path_factory.mktemp("ledger") / "usage.db") as made:
        for kind in ("whole", "usage", "stream"):
            ask(made.port, kind, tokens=7, prompt_tokens=20)
        yield made
        made.assert_no_exception()


def test_operators_read_sums_with_all_that_was_counted(relay: Router):
    report = relay.get("/usage?by=model&since=1h").json()
    (row,) = report["rows"]
    assert (row["model"], row["requests"], row["completion"], report["by"]) == ("m", 3, 21, ["model"])
    assert report["problem"] == ""
    assert report["recent"][0]["requests"] == 3
    assert relay.get("/usage?since=0&until=1000").json()["rows"] == []


WRONG_QUERIES = [("by=week", "by"), ("since=never", "since"), ("until=-1", "until"), ("since=0&key=ci", "key")]


@pytest.mark.parametrize(("query", "param"), WRONG_QUERIES)
def test_a_wrong_query_is_explained(relay: Router, query: str, param: str):
    answer = relay.get(f"/usage?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_router_without_a_ledger_names_the_setting(services: Path):
    with router("--static-services", services) as relay:
        answer = relay.get("/usage")
        assert answer.status_code == 404
        assert "usage_file under [router]" in answer.json()["error"]["message"]


def test_metrics_have_the_usage_by_key_and_model(relay: Router):
    relay.get("/usage")
    text = relay.get("/metrics").text
    assert 'svc_router_usage_requests_total{key="",model="m"} 3.0' in text
    assert 'svc_router_usage_tokens_total{key="",kind="completion",model="m"} 21.0' in text
    assert unwritten(relay) == 0


def test_svc_usage_sums_several_routers(relay: Router):
    command = ("usage", "--router", relay.url, "--router", relay.url, "--by", "model")
    table = run_svc(*command)[0].splitlines()
    assert [line.split()[:2] for line in table] == [["MODEL", "REQUESTS"], ["m", "6"]]
    report = json.loads(run_svc(*command, "--json")[0])
    assert (report["rows"][0]["completion"], report["total"]["requests"]) == (42, 6)
    assert run_svc(*command, "--csv")[0].splitlines()[1].startswith("m,6,0,")


def test_svc_usage_reads_the_file_of_a_router_that_does_not_run(tmp_path: Path, engine: Engine, services: Path):
    path = tmp_path / "var" / "usage.db"
    with router("--static-services", services, "--usage-file", path) as relay:
        ask(relay.port, "whole", tokens=7)
        wait_until(lambda: total(path).requests == 1, description="the request in the file")
    own = {"ROUTER_URL": f"http://127.0.0.1:{free_port()}"}
    svc = [BIN / "svc", "usage", "--by", "", "--json"]
    done = subprocess.run(svc, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["total"]["completion"] == 7
    path.unlink()
    done = subprocess.run(svc, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the router does not answer at http://127.0.0.1:" in done.stderr


def test_usage_is_asked_for_in_place_of_clients_and_hidden_from_them(engine: Engine, services: Path, tmp_path: Path):
    path = tmp_path / "usage.db"
    with router("--static-services", services, "--usage-file", path, "--stream-usage") as relay:
        plain = ask(relay.port, "stream", tokens=40)
        wanted = ask(relay.port, "stream", tokens=40, stream_options={"include_usage": True})
        wait_until(lambda: total(path).requests == 2, description="the requests in the file")
        relay.assert_no_exception()
    row = total(path)
    assert (row.completion, row.prompt, row.estimated) == (80, 20, 0)
    assert (plain.count(b"Hi"), plain.count(b"usage"), plain.endswith(b"data: [DONE]\n\n")) == (40, 0, True)
    assert wanted == plain.replace(b"data: [DONE]", b'data: {"choices":[],%b}\n\ndata: [DONE]' % usage(10, 40))
