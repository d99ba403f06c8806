"""What the original's clients send gets answers that have all that the original's servers answer.

exchanges.json is made by record.py with the original's own programs.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.babysitter.processes import SVC, LoggedProcess
from tests.integration.fakes import mock
from tests.integration.original import stand_ins
from tests.integration.original.test_mixed_fleet import TOML
from tests.integration.registry.process import Registry
from tests.integration.router.routers import router
from tests.waiting import free_port, free_port_pair, wait_until

EXCHANGES = json.loads(Path(__file__).with_name("exchanges.json").read_text())
IGNORED_FIELDS = {"timestamp"}  # seconds there, ISO 8601 here


def exchanges(server: str) -> list[dict[str, Any]]:
    return [exchange for exchange in EXCHANGES if exchange["server"] == server]


def send(url: str, exchange: dict[str, Any]) -> requests.Response:
    return requests.request(exchange["method"], url + exchange["path"], json=exchange["body"], timeout=10)


def missing(theirs: Any, ours: Any, place: str = "") -> list[str]:
    """Return the fields of their answer that ours lacks, or has with another JSON type; null has any type."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if place.endswith("].metadata"):
            return []  # what a babysitter has registered
        absent = [f"{place}.{key}" for key in theirs.keys() - ours.keys()]
        common = theirs.keys() & ours.keys() - IGNORED_FIELDS
        return absent + [problem for key in common for problem in missing(theirs[key], ours[key], f"{place}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        return missing(theirs[0], ours[0], f"{place}[0]") if theirs and ours else []
    numbers = isinstance(theirs, (int, float)) and isinstance(ours, (int, float))
    same = theirs is None or ours is None or numbers or type(theirs) is type(ours)
    return [] if same else [f"{place}: {theirs!r} there, {ours!r} here"]


def assert_answered(url: str, exchange: dict[str, Any]) -> requests.Response:
    answer = send(url, exchange)
    request = f"{exchange['method']} {exchange['path']} {exchange['body']}"
    if exchange["status"] < 400:
        assert answer.status_code == exchange["status"], request
        assert missing(exchange["answer"], answer.json()) == [], request
    else:  # 422 at its Rust registry is 400 here
        assert answer.status_code // 100 == exchange["status"] // 100, request
        assert (answer.status_code == 404) == (exchange["status"] == 404), request
    return answer


def test_the_registry_answers_their_clients(tmp_path: Path):
    registry = Registry(tmp_path, "--health-interval", "600", "--health-timeout", "0.2").start()
    try:
        for exchange in exchanges("registry"):
            answer = assert_answered(registry.client.urls[0], exchange)
            if "?" in exchange["path"]:
                assert answer.json().keys() == exchange["answer"].keys()
        counts = [e["answer"]["total"] for e in exchanges("registry") if "status=" in e["path"]]
        assert counts == [3, 0, 1], "the recording has what it is for"
    finally:
        registry.end()


def test_the_babysitter_and_the_router_answer_their_clients(tmp_path: Path):
    registry = Registry(tmp_path, "--health-interval", "600").start()
    try:
        with mock("a", ["a"], free_port_pair()) as instance:
            url = registry.client.urls[0]
            (tmp_path / "a.toml").write_text(TOML.format(name="a", port=instance.port, registry=url))
            command = [*SVC, "babysitter", "--config-file", "a.toml"]
            babysitter = LoggedProcess(command, tmp_path, tmp_path / "babysitter.log")
            try:
                with router("--registry-url", url) as own:
                    wait_until(lambda: own.get("/models").json()["data"])
                    for exchange in exchanges("babysitter"):
                        assert_answered(f"http://127.0.0.1:{instance.port + 1}", exchange)
                    for exchange in exchanges("router"):
                        assert_answered(own.url, exchange)
            finally:
                babysitter.kill_all()
    finally:
        registry.end()


@pytest.mark.parametrize("server", ["registry", "babysitter"])
def test_the_stand_ins_answer_as_the_programs_did(server: str):
    with mock("a", ["a"], free_port_pair()) as instance:
        made: stand_ins.Server
        if server == "registry":
            made = stand_ins.Registry(port := free_port()).start()
        else:
            port = instance.port + 1
            made = stand_ins.Babysitter("a", instance.port, f"http://127.0.0.1:{free_port()}").start()
        try:
            for exchange in exchanges(server):
                answer = assert_answered(f"http://127.0.0.1:{port}", exchange)
                ours = answer.json() if answer.content and answer.ok else None
                assert missing(ours, exchange["answer"]) == []
        finally:
            made.end()
