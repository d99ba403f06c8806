"""The files in ops/ are valid for promtool and for Grafana's published types."""

import subprocess
import sys

import pytest
import yaml

from tests.debian import program
from tests.integration.monitoring.queries import PROMETHEUS, RULES, alerts, dashboard, dashboard_queries, panels

RULES_TEST = RULES.parents[2] / "tests" / "integration" / "monitoring" / "rules.test.yml"
GRID_COLUMNS = 24  # of Grafana


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool", "prometheus"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_promtool_accepts_the_configuration_with_its_rules():
    done = promtool("check", "config", PROMETHEUS)
    assert done.returncode == 0, done.stderr
    assert "1 rule files found" in done.stdout


def test_promtool_accepts_the_configuration_with_the_token(tmp_path):
    text = PROMETHEUS.read_text()
    assert text.count("# authorization:") == 2
    (tmp_path / "prometheus.yml").write_text(text.replace("# authorization:", "authorization:"))
    (tmp_path / "registry_read_token").write_text("secret")
    (tmp_path / RULES.name).write_text(RULES.read_text())
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_before():
    done = promtool("test", "rules", RULES_TEST)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test():
    text = RULES_TEST.read_text()
    assert [rule["alert"] for rule in alerts() if f'alertname="{rule["alert"]}"' not in text] == []


def test_each_alert_has_a_summary_a_description_and_a_severity():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_promtool_parses_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"q{number}", "expr": expr} for number, (_, expr) in enumerate(dashboard_queries())]
    assert len(rules) > 40
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_do_not_overlap_and_have_unique_ids():
    assert len({panel["id"] for panel in panels()}) == len(panels())
    occupied: set[tuple[int, int]] = set()
    for panel in panels():
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & occupied, panel["title"]
        assert all(x < GRID_COLUMNS for x, _ in cells), panel["title"]
        occupied |= cells


def test_every_query_goes_to_the_chosen_data_source():
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert list(variables) == ["datasource", "model", "name"]
    for panel in panels():
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Grafana's package needs Python 3.11")
class TestSchema:
    """The schema of Grafana's own types accepts the dashboard, and refuses unknown keys and values."""

    def problems(self, document: dict) -> list[str]:
        import jsonschema

        from tests.integration.monitoring.schema import dashboards

        schema = dashboards()
        jsonschema.Draft202012Validator.check_schema(schema)
        return [
            f"{list(error.absolute_path)}: {error.message}"
            for error in jsonschema.Draft202012Validator(schema).iter_errors(document)
        ]

    def test_the_dashboard_is_valid(self):
        assert self.problems(dashboard()) == []

    @pytest.mark.parametrize("part", ["dashboard", "panel", "options", "custom", "target", "variable", "threshold"])
    def test_an_unknown_key_is_refused(self, part):
        document = dashboard()
        chart = next(panel for panel in document["panels"] if panel["type"] == "timeseries")
        stat = next(panel for panel in document["panels"] if panel["type"] == "stat")
        {
            "dashboard": document,
            "panel": chart,
            "options": chart["options"],
            "target": chart["targets"][0],
            "custom": chart["fieldConfig"]["defaults"]["custom"],
            "variable": document["templating"]["list"][0],
            "threshold": stat["fieldConfig"]["defaults"]["thresholds"]["steps"][0],
        }[part]["legendfromat"] = "x"
        assert self.problems(document)

    @pytest.mark.parametrize(
        ("key", "value"), [("type", "timeserie"), ("gridPos", {"x": "0"}), ("title", 1), ("transparent", "yes")]
    )
    def test_an_invalid_value_is_refused(self, key, value):
        document = dashboard()
        document["panels"][1][key] = value
        assert self.problems(document)
