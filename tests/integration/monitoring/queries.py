"""The queries in ops/grafana and ops/prometheus, and the metrics that they use."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

OPS = Path(__file__).parents[3] / "ops"
DASHBOARD = OPS / "grafana" / "dashboard.json"
PROMETHEUS = OPS / "prometheus" / "prometheus.yml"
RULES = OPS / "prometheus" / "svc.rules.yml"
NAME = re.compile(r"\bsvc_[a-z_]+\b")


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text())


def panels() -> list[dict[str, Any]]:
    return dashboard()["panels"]


def dashboard_queries(rate_interval: str = "1m") -> Iterator[tuple[str, str]]:
    """Yield each query with the title of its panel, as Grafana sends it when all models and instances are chosen."""
    for panel in panels():
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", rate_interval)
            yield panel["title"], text.replace("$model", ".*").replace("$name", ".*")


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def metrics() -> set[str]:
    """Return our metrics in the dashboard, its variables and the rules; the parts of a histogram have its name."""
    text = "\n".join([DASHBOARD.read_text(), *(rule["expr"] for rule in alerts())])
    return {re.sub("_bucket$", "", name) for name in NAME.findall(text)}
