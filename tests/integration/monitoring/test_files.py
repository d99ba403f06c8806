"""The files of ops/ are what their own tools take: promtool, and Grafana's published types."""

import subprocess
import sys

import pytest
import yaml

from tests.debian import program
from tests.integration.monitoring.queries import PROMETHEUS, RULES, alerts, asked, dashboard, panels

RULES_TEST = RULES.parents[2] / "tests" / "integration" / "monitoring" / "rules.test.yml"
WIDTH = 24  # of Grafana's grid


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool", "prometheus"), *map(str, words)], capture_output=True, text=True, timeout=60
    )


def test_promtool_takes_the_configuration_with_its_rules():
    done = promtool("check", "config", PROMETHEUS)
    assert done.returncode == 0, done.stderr
    assert "1 rule files found" in done.stdout


def test_and_with_the_token_that_is_written_out_in_it(tmp_path):
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


def test_no_alert_is_without_such_a_test():
    told = RULES_TEST.read_text()
    assert [rule["alert"] for rule in alerts() if f'alertname="{rule["alert"]}"' not in told] == []


def test_each_alert_says_what_it_is_and_how_urgent():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_promtool_parses_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"q{number}", "expr": expr} for number, (_, expr) in enumerate(asked())]
    assert len(rules) > 40
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_their_own_place_and_number():
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < WIDTH for x, _ in cells), panel["title"]
        taken |= cells


def test_every_query_goes_to_the_chosen_data_source():
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}
    assert list(variables) == ["datasource", "model", "name"]
    for panel in panels():
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Grafana's package needs Python 3.11")
class TestSchema:
    """That Grafana's own types allow the dashboard, and nothing else by accident."""

    def problems(self, told: dict) -> list[str]:
        import jsonschema

        from tests.integration.monitoring.schema import dashboards

        schema = dashboards()
        jsonschema.Draft202012Validator.check_schema(schema)
        return [
            f"{list(error.absolute_path)}: {error.message}"
            for error in jsonschema.Draft202012Validator(schema).iter_errors(told)
        ]

    def test_the_dashboard_is_one(self):
        assert self.problems(dashboard()) == []

    @pytest.mark.parametrize("where", ["dashboard", "panel", "options", "custom", "target", "variable", "threshold"])
    def test_a_key_that_grafana_does_not_know_is_found(self, where):
        told = dashboard()
        shown = next(panel for panel in told["panels"] if panel["type"] == "timeseries")
        number = next(panel for panel in told["panels"] if panel["type"] == "stat")
        {
            "dashboard": told,
            "panel": shown,
            "options": shown["options"],
            "target": shown["targets"][0],
            "custom": shown["fieldConfig"]["defaults"]["custom"],
            "variable": told["templating"]["list"][0],
            "threshold": number["fieldConfig"]["defaults"]["thresholds"]["steps"][0],
        }[where]["legendfromat"] = "x"
        assert self.problems(told)

    @pytest.mark.parametrize(
        ("key", "value"), [("type", "timeserie"), ("gridPos", {"x": "0"}), ("title", 1), ("transparent", "yes")]
    )
    def test_a_value_that_grafana_does_not_know_is_found(self, key, value):
        told = dashboard()
        told["panels"][1][key] = value
        assert self.problems(told)
