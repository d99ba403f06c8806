"""The scripts and URLs of the maintenance guide, in a new clone."""

import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sites import BIN, ROOT, Site, clean_environ, http
from tests.e2e.traffic import read_stream
from tests.waiting import free_port_pair, wait_until

ENVIRON = {"SVC_VENV": str(BIN.parent)}  # the scripts make an environment of their own otherwise: minutes


def run(site: Site, script: str, *arguments: str, status: int | None = 0, **environ: str) -> tuple[str, str]:
    return site.run(f"bin/{script}", *arguments, status=status, **ENVIRON, **environ)


def get(url: str) -> dict:
    answer = http.get(url, timeout=10)
    assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text}"
    return answer.json()


@pytest.fixture(scope="module")
def clone() -> Iterator[Site]:
    """Yield a clone with the example site at free ports."""
    root = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(root)], check=True)
    site = Site(root)
    for toml in root.glob("config/babysitter*.toml"):
        text = toml.read_text()
        port = re.search(r"^port = (\d+)", text, re.M)
        assert port
        toml.write_text(text.replace(port[1], str(free_port_pair())))
    yield site
    site.end()


@pytest.fixture(scope="module")
def launched(clone) -> Iterator[tuple[Site, str]]:
    """Yield the clone after its launch script, and the output of the script."""
    out, _ = run(clone, "launch_all.sh")
    yield clone, out
    run(clone, "stop_all.sh")
    assert clone.processes() == {}


def cpu_seconds_of_children() -> float:
    """Return the CPU time of all commands that have ended: it does not depend on what else the machine does."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ports(site: Site) -> list[int]:
    return [int(re.search(r"^port = (\d+)", p.read_text(), re.M)[1]) for p in sorted(site.root.glob("config/b*.toml"))]


def test_the_committed_files_are_what_the_example_site_renders_to():
    subprocess.run([str(BIN / "svc"), "render", "--check"], cwd=ROOT, env=clean_environ(), check=True)


def test_launch_all_prints_a_command_to_try_that_works(launched):
    site, out = launched
    curl = next(line.strip() for line in out.splitlines() if line.strip().startswith("curl "))
    assert all(name in out for name in ("registry", "router", "demo1", "demo2", "demo3", " status", " down", "logs/"))
    if shutil.which("curl"):
        answer = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(answer.stdout)["choices"][0]["message"]["content"]


def test_a_second_launch_starts_nothing_and_takes_a_second_or_two(launched):
    site, _ = launched
    before = site.processes()
    began = time.monotonic()
    run(site, "svc", "status", status=None)
    status_seconds = time.monotonic() - began
    for script in ("launch_all.sh", "launch_all_rust.sh"):
        began, cpu = time.monotonic(), cpu_seconds_of_children()
        run(site, script)
        assert time.monotonic() - began < max(3, 5 * status_seconds), "a busy machine delays each command"
        assert cpu_seconds_of_children() - cpu < 3
    assert site.processes() == before


def test_the_registry_s_urls(launched):
    site, _ = launched
    health = get(f"{site.registry}/health")
    assert health.keys() >= {"status", "registry", "registered_services", "healthy_services", "timestamp"}
    assert (health["status"], health["registry"], health["registered_services"]) == ("healthy", "running", 6)
    services = get(f"{site.registry}/services")
    names = {f"demo{n}{suffix}" for n in (1, 2, 3) for suffix in ("", "-server")}
    assert {service["name"] for service in services["services"]} == names
    assert services["total"] == 6


def test_the_router_s_urls(launched):
    site, _ = launched
    health = get(f"{site.router}/health")
    assert health["status"] == "healthy"
    assert health["healthy_services"] == "3/3"
    assert get(f"{site.router}/status").keys() == health.keys()
    for path in ("/models", "/v1/models"):
        models = get(site.router + path)
        assert models["object"] == "list"
        assert sorted(model["id"] for model in models["data"]) == ["demo-large", "demo-small"]
    assert get(f"{site.router}/v1/models/demo-large")["id"] == "demo-large"
    services = get(f"{site.router}/services")
    assert services["total"] == 3
    fields = {
        "name",
        "host",
        "port",
        "url",
        "babysitter_url",
        "healthy",
        "request_count",
        "error_count",
        "response_time",
        "weight",
        "models",
        "metadata",
    }
    assert all(service.keys() >= fields and service["healthy"] for service in services["services"])
    stats = get(f"{site.router}/stats")
    assert (stats["total_services"], stats["healthy_services"], len(stats["services"])) == (3, 3, 3)
    assert get(f"{site.router}/livez")
    assert get(f"{site.router}/readyz")
    assert "# TYPE" in http.get(f"{site.router}/metrics", timeout=10).text


def test_the_babysitters_urls(launched):
    site, _ = launched
    for port in ports(site):
        health = get(f"http://localhost:{port + 1}/health")
        assert (health["status"], health["infinilm_server_running"]) == ("healthy", True)
        assert health["infinilm_server_port"] == port
        assert get(f"http://localhost:{port + 1}/models")["data"][0]["id"].startswith("demo-")
        info = get(f"http://localhost:{port + 1}/info")
        assert info.keys() >= {"name", "host", "port", "url", "service_type", "infinilm_server_port", "uptime"}
        assert info["restart_count"] == 0


def test_chat_stream_and_an_unknown_model(launched):
    site, _ = launched
    assert site.chat("demo-large").json()["model"] == "demo-large"
    assert read_stream(site.chat("demo-small", stream=True))[-1] == "[DONE]"
    answer = site.chat("absent")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "No healthy services available for model 'absent'"


def test_requests_for_a_model_are_spread_over_its_instances(launched):
    site, _ = launched
    names = {site.chat("demo-small").headers["x-mock-name"] for _ in range(4)}
    assert names == {"demo1", "demo2"}


def test_logs_have_the_names_of_the_guide(launched):
    site, _ = launched
    for pattern, count in (("registry_*", 1), ("router_*", 1), ("babysitter_*", 3), ("server_*", 3)):
        assert len(list((site.root / "logs").glob(f"{pattern}.log"))) == count


def test_an_incomplete_model_file_is_refused_with_one_line(launched):
    site, _ = launched
    before = site.processes()
    for script, toml in (("launch_babysitter_9g8b.sh", "9g8b.toml"), ("launch_babysitter_qwen_rust.sh", "qwen.toml")):
        _, err = run(site, script, status=1)
        lines = err.splitlines()
        assert all(line.startswith(f"svc: config/models/{toml}: backend.") for line in lines)
        assert len(lines) == 2, "the model and the GPUs"
    assert site.processes() == before


def test_the_scripts_work_from_another_directory_and_through_a_link(launched, tmp_path):
    site, _ = launched
    (tmp_path / "launch").symlink_to(site.root / "bin" / "launch_all.sh")
    done = subprocess.run(
        [str(tmp_path / "launch")], cwd="/", env=clean_environ() | ENVIRON, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_single_scripts_start_and_stop_each_part(clone):
    run(clone, "stop_all.sh")
    run(clone, "launch_registry.sh")
    run(clone, "launch_router.sh")
    run(clone, "launch_babysitter.sh", "config/babysitter1.toml")
    assert clone.routed() == {"demo1-server"}
    run(clone, "launch_babysitter.sh", "babysitter2.toml", "config/babysitter3.toml")
    assert clone.routed() == {"demo1-server", "demo2-server", "demo3-server"}
    run(clone, "stop_babysitter.sh", str(ports(clone)[0]))
    wait_until(lambda: clone.routed() == {"demo2-server", "demo3-server"}, description="the router to know")
    run(clone, "stop_router.sh")
    run(clone, "stop_babysitter.sh")
    assert get(f"{clone.registry}/services")["total"] == 0
    run(clone, "stop_registry.sh")
    assert clone.processes() == {}


def test_the_guide_s_variables(clone):
    run(clone, "stop_all.sh")
    registry, router = free_port_pair(), free_port_pair()
    configs = "config/babysitter1.toml config/babysitter2.toml"
    environ = {"REGISTRY_PORT": str(registry), "ROUTER_PORT": str(router), "BABYSITTER_CONFIGS": configs}
    before = clone.files()
    run(clone, "launch_all.sh", **environ)
    assert get(f"http://localhost:{registry}/services")["total"] == 4
    assert get(f"http://localhost:{router}/health")["healthy_services"] == "2/2"
    run(clone, "stop_all.sh")
    assert clone.processes() == {}
    assert clone.files() == before


def test_the_deployment_script_reads_the_original_s_json_files(clone):
    run(clone, "stop_all.sh")
    registry, router = free_port_pair(), free_port_pair()
    url = f"http://localhost:{registry}"
    spare = {"name": "spare", "host": "127.0.0.1", "port": free_port_pair(), "metadata": {"models": ["spare"]}}
    services = [{"name": "babysitter1", "host": "localhost", "port": ports(clone)[0], "weight": 1, "backup": False}]
    files = {
        "registry_config.json": {"registry": {"port": registry, "health_interval": 30}, "servers": []},
        "router_config.json": {
            "router": {"port": router, "registry_url": url, "load_balancing_method": "round_robin"},
            "static_services": {"services": [spare]},
        },
        "server1_services.json": {"services": services},
        "server2_services.json": {"services": [{"name": "elsewhere", "host": "192.0.2.7", "port": 5001}]},
    }
    directory = clone.root / "var" / "deployment"
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    options = ("-c", "var/deployment")
    run(clone, "deploy_services.sh", *options, "start-registry")
    run(clone, "deploy_services.sh", *options, "start-router")
    run(clone, "deploy_services.sh", *options, "start-services")
    assert {service["name"] for service in get(f"{url}/services")["services"]} == {"demo1", "demo1-server"}
    routed = {service["name"] for service in get(f"http://localhost:{router}/services")["services"]}
    assert routed == {"demo1-server", "spare"}
    out, _ = run(clone, "deploy_services.sh", "status", status=None)
    assert "demo1:babysitter" in out
    (directory / "server1_services.json").write_text(json.dumps({"services": [{**services[0], "name": "absent"}]}))
    _, err = run(clone, "deploy_services.sh", *options, "start-services", status=1)
    assert err.startswith("svc: config/absent.toml: missing; server1_services.json has absent on this host: ")
    run(clone, "deploy_services.sh", "stop-all")
    assert clone.processes() == {}


def test_the_old_paths_lead_to_the_scripts(clone):
    assert (clone.root / "script").readlink() == Path("bin")
    out, _ = clone.run("script/example_deployment.sh")
    for script in re.findall(r"bin/(\w+(?:\.sh)?)", out):
        assert (clone.root / "bin" / script).exists(), script


@pytest.mark.parametrize("script", sorted((ROOT / "bin").iterdir()), ids=lambda path: path.name)
def test_a_script_is_short_strict_and_executable(script):
    text = script.read_text()
    assert "set -eu" in text
    assert len(text.splitlines()) <= 30
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)
