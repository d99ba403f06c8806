"""The commands of the benchmark, each for a moment: their figures, and their messages when something fails."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "ops" / "bench"


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing) and not os.environ.get("CI"), reason=f"not installed: {missing}")


bench = needs("uvloop", "matplotlib")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(BENCH / script), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=150)


@pytest.mark.long
@bench
def test_a_run_measures_and_plots_every_scenario(tmp_path):
    plot_file, report = tmp_path / "plots" / "bench.svg", tmp_path / "bench.json"
    done = run(
        "run.py",
        "--routers",
        "ours",
        "--scenarios",
        "one,large,stream,burst-cold",
        "--rounds",
        "2",
        "--seconds",
        "0.3",
        "--json",
        str(report),
        "--plot",
        str(plot_file),
        "--cache",
        str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(report.read_text())
    assert set(results) == {"one", "large", "stream", "burst-cold"}
    for scenario, rounds in results.items():
        assert len(rounds["ours"]) == 2
        for figures in rounds["ours"]:
            assert figures["answered"] > 0
            assert figures["failures"] == {}
            assert 1 < figures["cpu_request"] < 100_000, "microseconds"
            assert 10 < figures["memory"] < 500, "MB"
            assert (figures["cpu_event"] is not None) == (scenario not in ("one", "large"))
    assert results["stream"]["ours"][0]["most_open"] == results["burst-cold"]["ours"][0]["most_open"] == 128
    assert 0 < results["burst-cold"]["ours"][0]["first_p50"] <= results["burst-cold"]["ours"][0]["first_p99"]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ours")]
    assert len(rows) == 4
    assert all(row.split("|")[4].strip() == "1.00" for row in rows), "ours divided by itself"
    assert plot_file.read_text().lstrip().startswith("<?xml")


@bench
def test_failed_requests_are_in_the_report_and_fail_the_run(tmp_path):
    refusing = tmp_path / "refusing.py"
    refusing.write_text(REFUSES_ALL_BUT_THE_FIRST)
    report = tmp_path / "bench.json"
    done = run(
        "run.py",
        "--routers",
        "ours",
        "--peer",
        f"ours={sys.executable} {refusing} {{port}}",
        "--scenarios",
        "one",
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--plot",
        "",
        "--json",
        str(report),
        "--cache",
        str(tmp_path),
    )
    assert done.returncode == 1
    (figures,) = json.loads(report.read_text())["one"]["ours"]
    assert figures["failures"]["status 503"] > 0
    assert figures["answered"] == 0
    assert "FAILED" in done.stderr


@bench
def test_a_missing_router_is_reported_and_the_others_are_measured(tmp_path):
    done = run(
        "run.py",
        "--routers",
        "ours,absent",
        "--peer",
        "absent=no-such-router --port {port}",
        "--scenarios",
        "one",
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--plot",
        "",
        "--cache",
        str(tmp_path),
    )
    assert done.returncode == 1
    assert "absent: " in done.stderr
    assert "no-such-router" in done.stderr
    assert "| ours" in done.stdout


@bench
def test_a_low_limit_of_open_files_is_reported_before_the_run(tmp_path):
    argv = [sys.executable, str(BENCH / "run.py"), "--routers", "ours", "--scenarios", "flood", "--plot", ""]
    limited = ["sh", "-c", 'ulimit -n 2000 && exec "$@"', "sh", *unprivileged(), *argv, "--cache", str(tmp_path)]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        "run.py: this needs 11000 open files and the limit is 2000: raise it as root "
        "(ulimit -Hn 11000, or nofile in /etc/security/limits.conf), or ask for less\n"
    )


@bench
def test_an_unknown_scenario_is_reported_with_the_known_ones():
    done = run("run.py", "--scenarios", "one,vast")
    assert done.returncode == 2
    assert "unknown scenario 'vast'; there are one, small, large, huge, stream, crowd, burst, " in done.stderr


@pytest.mark.long
@bench
def test_streams_are_measured_that_start_beside_others(tmp_path):
    report = tmp_path / "bench.json"
    options = ["--routers", "ours", "--scenarios", "join", "--rounds", "1", "--seconds", "0.3", "--plot", ""]
    done = run("run.py", *options, "--json", str(report), "--cache", str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(report.read_text())["join"]["ours"]
    assert figures["answered"] % 8 == 0, "bursts of 8"
    assert figures["most_open"] > 8, "others go on"
    assert figures["failures"] == {}


@pytest.mark.long
@needs("uvloop")
def test_open_pages_are_measured_against_none(tmp_path):
    report = tmp_path / "pages.json"
    done = run("pages.py", "--rounds", "2", "--seconds", "1.2", "--most", "1000", "--json", str(report))
    assert done.returncode == 0, done.stderr
    results = json.loads(report.read_text())
    assert results["ticks"] >= 2 * 5, "each of five pages, in each round"
    assert len(results["costs"]["open"]) == len(results["costs"]["closed"]) == 2
    assert 0.1 < results["ratio"] < 10
    assert sum(line.startswith("| 5 ") for line in done.stdout.splitlines()) == 1


@pytest.mark.long
@needs("uvloop")
def test_a_registry_with_a_small_fleet_is_measured(tmp_path):
    report = tmp_path / "registry.json"
    done = run(
        "registry.py",
        "--instances",
        "20",
        "--watchers",
        "3",
        "--interval",
        "1",
        "--changes",
        "0.2",
        "--seconds",
        "2",
        "--settle",
        "1",
        "--json",
        str(report),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert 60 <= figures["beats"] <= 100, "40 names for 2 s"
    assert figures["lists"] == 3 * figures["changes"] > 0, "each change reached each watcher"
    assert 0 < figures["seen_p50"] <= figures["seen_max"] < 5000, "milliseconds"
    assert 0 < figures["percent"] < 100
    assert f"| CPU of the registry | {figures['percent']:.1f} % of a core |" in done.stdout


@needs("uvloop")
def test_a_registry_that_does_not_start_is_reported():
    done = run("registry.py", "--command", f"{sys.executable} -c 'exit(\"no, {{port}}\")'")
    assert done.returncode == 1
    assert "registry.py: it does not answer; it says: no, " in done.stderr
    assert done.stderr.count("\n") <= 2


@pytest.mark.long
@bench
def test_five_thousand_streams_are_open_at_once_and_complete(tmp_path):
    report = tmp_path / "flood.json"
    done = run(
        "run.py",
        "--routers",
        "ours",
        "--scenarios",
        "flood",
        "--rounds",
        "1",
        "--plot",
        "",
        "--json",
        str(report),
        "--cache",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(report.read_text())["flood"]["ours"]
    assert figures["most_open"] == figures["answered"] == 5000


@pytest.mark.long
@needs("xllamacpp")
def test_session_and_prefix_policies_use_the_prompt_cache(tmp_path):
    report = tmp_path / "affinity.json"
    load = ["--agents", "3", "--turns", "4", "--clients", "1", "--system-bytes", "0", "--instances", "2"]
    done = run("affinity.py", "--policies", "round_robin,session,prefix", *load, "--json", str(report))
    assert done.returncode == 0, done.stderr
    turns = json.loads(report.read_text())
    cached = {policy: sum(turn["cached"] for turn in answers) for policy, answers in turns.items()}
    assert {len(answers) for answers in turns.values()} == {3 * 4}
    assert cached["session"] > 1.1 * cached["round_robin"]
    assert cached["prefix"] > 1.1 * cached["round_robin"]


@pytest.mark.long
@needs("xllamacpp")
def test_small_prompts_wait_less_where_large_ones_have_engines_of_their_own(tmp_path):
    report = tmp_path / "size.json"
    load = ["--small-prompts", "8", "--large-prompts", "3"]
    done = run("size.py", "--policies", "auto,unmarked", *load, "--json", str(report))
    assert done.returncode == 0, done.stderr
    first = json.loads(report.read_text())
    assert {(len(kinds["small"]), len(kinds["large"])) for kinds in first.values()} == {(2 * 8, 3)}
    assert max(first["auto"]["small"]) < max(first["unmarked"]["small"])


@pytest.mark.long
def test_fair_shares_are_measured_with_mocks(tmp_path):
    report = tmp_path / "new" / "fairness.json"
    load = ["--flood", "40", "--places", "6", "--requests", "4", "--interval", "0.3", "--long", "10", "--batch", "60"]
    times = ["--seconds", "4", "--warm-up", "2", "--token-delay", "0.01", "--first-token-delay", "0.3"]
    done = run("fairness.py", *load, *times, "--json", str(report))
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert [len(figures[name]["first"]) for name in ("alone", "fcfs", "fair")] == [4] * 3
    assert figures["batch"]["answered"] == 60
    assert figures["batch"]["first"]
    assert max(figures["fair"]["first"]) < min(figures["fcfs"]["first"])
    assert figures["equal"]["jain"] > 0.8
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:] if line.startswith("|")]
    assert rows == list(figures)


@bench
def test_policies_are_compared_on_simulated_engines(tmp_path):
    report = tmp_path / "new" / "simulation.json"
    load = ["--requests", "400", "--instances", "4", "--rate", "6"]
    done = run("simulate.py", "--policies", "session,omniscient", *load, "--json", str(report))
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert [figures[policy]["requests"] for policy in ("session", "omniscient")] == [400, 400]
    rows = [line.split("|")[1:3] for line in done.stdout.splitlines() if line.startswith(("| session", "| omniscient"))]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [policy, f"{figures[policy]['cached_tokens']:,}"] for policy in ("session", "omniscient")
    ]


@bench
def test_routers_that_do_not_communicate_are_simulated(tmp_path):
    def figures(routers: str) -> dict[str, float]:
        report = tmp_path / routers
        load = ["--requests", "200", "--instances", "4", "--rate", "6", "--routers", routers]
        done = run("simulate.py", "--policies", "round_robin", *load, "--json", str(report))
        assert done.returncode == 0, done.stderr
        return json.loads(report.read_text())["round_robin"]

    one, three = figures("1"), figures("3")
    assert one["requests"] == three["requests"] == 200
    assert one["prefill"] != three["prefill"], "each router takes turns of its own"


@bench
def test_an_unknown_policy_is_reported_with_the_known_ones():
    done = run("simulate.py", "--policies", "session,vast")
    assert done.returncode == 2
    assert "unknown policy 'vast'; there are auto, round_robin, " in done.stderr


def unprivileged() -> list[str]:
    """Return a command prefix that takes from root the right to raise its limits."""
    return ["setpriv", "--bounding-set", "-sys_resource", "--"] if os.geteuid() == 0 else []


REFUSES_ALL_BUT_THE_FIRST = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

status = iter([200])

class Refuses(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(next(status, 503))
        self.send_header("content-length", "0")
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[1])), Refuses).serve_forever()
"""


@pytest.mark.long
@needs("uvloop")
def test_the_cost_of_several_processes_is_measured():
    done = run("scaling.py", "--processes", "1,2", "--rounds", "1", "--seconds", "0.3")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line[:3] in ("| 1", "| 2")]
    assert [row[0].strip() for row in rows] == ["1", "2"] * 3, "small, stream, connect"
    assert all(0 < float(cell) < 100_000 for row in rows for cell in (row[1], row[2], row[4], row[5]))


@needs("uvloop")
def test_the_cost_of_counting_together_is_measured():
    done = run("shared_counts.py", "--processes", "1,3", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line[:3] in ("| 1", "| 3")] == ["1", "3"]
    assert "it admits " in done.stdout


@needs("uvloop")
def test_the_cost_of_the_policy_prefix_is_measured():
    done = run("prefix.py", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if " B, " in line or "KB, " in line or "MB, " in line]
    assert len(rows) == 8
    assert all(float(cost) > 0 for row in rows for cost in row[2:-1])
    entries, megabytes = re.search(r"has ([0-9,]+) blocks in ([0-9.]+) MB", done.stdout).groups()
    assert int(entries.replace(",", "")) > 200_000
    assert float(megabytes) <= 32


@bench
def test_a_trace_of_models_on_demand_is_compared_with_the_best_order(tmp_path):
    report = tmp_path / "on_demand.json"
    done = run("on_demand.py", "--requests", "300", "--turns", "10", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())
    assert (figures["requests"], figures["unserved"], figures["killed"], figures["out_of_memory"]) == (300, 0, 0, 0)
    assert figures["loads"] >= figures["best"] >= 5
    assert done.stdout.splitlines()[-1].split("|")[2].strip() == f"{figures['loads']:,}"
