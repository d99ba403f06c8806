"""Alerts and dashboard use the metrics of a running site, as requested here and as scraped by a real Prometheus."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from svc.mock import nvidia_smi
from svc.mock.gpu_state import GpuStateFile
from tests.debian import program
from tests.e2e.sites import Site, http
from tests.integration.monitoring.queries import PROMETHEUS, RULES, dashboard_queries, metrics
from tests.waiting import free_port, wait_until

EVENTS = "svc_registry_events_total"
QUIET = ("ALERTS{", "max_restarts > 0.5", EVENTS)  # queries without a result on a healthy site


@pytest.fixture
def stack(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, str]:
    """Yield a site with a mock, one on demand, a GPU that counts errors, and a key, after one request of every kind."""
    gpus = GpuStateFile(site.root / "simulated_gpus.json")
    gpus.create(1, 80 * 10**9)
    with gpus.changed() as state:
        state.gpus = [replace(gpu, errors=0) for gpu in state.gpus]
    nvidia_smi.install(site.root, gpus.path)
    monkeypatch.setenv("PATH", str(site.root), prepend=":")
    key = site.svc("keys", "add", "team")[0].strip()
    with (site.root / "config" / "svc.toml").open("a") as file:
        file.write('keys_file = "var/keys.toml"\n')
    site.mock("a", "m,only-a")
    site.mock("b", "m,only-b", "--gpu-memory", "8GB", "--gpu-state", str(gpus.path), on_demand="true")
    with (site.root / "config" / "b.toml").open("a") as file:
        file.write('[metadata]\nmodels = ["m", "only-b"]\n')
    site.svc("up")
    ask(site, key)
    return site, key


def ask(site: Site, key: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream_options": {"include_usage": True}}
    for model, stream in (("m", True), ("m", False), ("only-a", True), ("only-b", False), ("nobody", False)):
        requests.post(
            f"{site.router}/v1/chat/completions",
            json={**body, "model": model, "stream": stream},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )


def exported(url: str) -> set[str]:
    """Return the names of the samples of a server."""
    families = text_string_to_metric_families(http.get(f"{url}/metrics", timeout=10).text)
    return {re.sub("_bucket$", "", sample.name) for family in families for sample in family.samples}


def test_every_metric_of_alerts_and_dashboard_is_exported(stack: tuple[Site, str]):
    site, _ = stack
    services = http.get(f"{site.registry}/services", timeout=5).json()["services"]
    babysitters = [service["url"] for service in services if service["name"] in ("a", "b")]

    def missing() -> set[str]:
        return metrics() - set().union(*map(exported, (site.registry, site.router, *babysitters)))

    wait_until(lambda: not missing(), 20, lambda: f"the metrics {missing()}")  # one of the babysitters reads the GPUs


class Prometheus:
    """A Prometheus with the configuration of ops/ at the site's addresses, which scrapes every second."""

    def __init__(self, place: Path, site: Site) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        text = (
            PROMETHEUS.read_text()
            .replace("localhost:8000", site.router[7:])
            .replace("localhost:18000", site.registry[7:])
        )
        (place / "prometheus.yml").write_text(re.sub("(interval: )15s", r"\g<1>1s", text))
        (place / RULES.name).write_text(RULES.read_text())
        options = ["--config.file", place / "prometheus.yml", "--storage.tsdb.path", place / "data"]
        self.log = (place / "log").open("wb")
        self.process = subprocess.Popen(
            [program("prometheus", "prometheus"), *map(str, options), "--web.listen-address", self.url[7:]],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def get(self, path: str, **params: str) -> Any:
        answer = http.get(f"{self.url}/api/v1/{path}", params=params, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, text: str) -> list[dict[str, Any]]:
        return self.get("query", query=text)["result"]

    def ready(self) -> bool:
        assert self.process.poll() is None
        try:
            return http.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.ConnectionError:
            return False

    def targets(self) -> dict[str, dict[str, str]]:
        """Return the health of each target by job and name."""
        targets: dict[str, dict[str, str]] = {}
        for target in self.get("targets")["activeTargets"]:
            labels = target["labels"]
            targets.setdefault(labels["job"], {})[labels.get("name", "")] = target["health"]
        return targets

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture
def prometheus(stack: tuple[Site, str], tmp_path: Path) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path, stack[0])
    yield server
    server.end()


@pytest.mark.long
def test_a_real_prometheus_scrapes_all_targets_and_answers_all_queries(stack: tuple[Site, str], prometheus: Prometheus):
    site, key = stack
    wait_until(prometheus.ready, 60, description="Prometheus is ready")
    expected = {
        "svc-router": {"": "up"},
        "svc-registry": {"registry": "up"},
        "svc-babysitter": {"a": "up", "b": "up"},
        "svc-instance": {"a-server": "up", "b-server": "up"},
    }
    wait_until(lambda: prometheus.targets() == expected, 60, description="all is scraped")

    def unanswered() -> list[tuple[str, str]]:
        ask(site, key)
        return [
            (title, text)
            for title, text in dashboard_queries("20s")
            if not prometheus.query(text) and not any(word in text for word in QUIET)
        ]

    missing: list[tuple[str, str]] = []

    def answered() -> bool:
        missing[:] = unanswered()
        return not missing

    try:
        wait_until(answered, 60, description="every panel has something to show", interval=1)
    except AssertionError:
        assert missing == []
        raise
    values = prometheus.query('svc_router_instance_up{job="svc-router"}')
    assert {(sample["metric"]["name"], "exported_instance" in sample["metric"]) for sample in values} == {
        ("a-server", False),
        ("b-server", False),
    }
    states = prometheus.query(next(text for title, text in dashboard_queries() if title == "State of the instance"))
    assert {sample["metric"]["name"]: sample["value"][1] for sample in states} == {"a": "2", "b": "2"}

    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] != "inactive"] == []

    site.run("supervisorctl", "stop", "a:server")
    events = next(text for _, text in dashboard_queries("20s") if EVENTS in text)
    wait_until(lambda: prometheus.query(events), 60, description="the panel of events has something to show")

    def pending() -> set[str]:
        return {
            alert["labels"]["alertname"] + " " + alert["labels"].get("model", alert["labels"].get("name", ""))
            for alert in prometheus.get("alerts")["alerts"]
        }

    stopped = {"SvcModelDown only-a", "SvcInstanceUnused a-server"}
    wait_until(lambda: stopped <= pending(), 60, description="the alerts about a stopped instance are on their way")
