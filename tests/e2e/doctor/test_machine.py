"""Disks, open files, names, GPUs and clocks of the machine, with the cures of `svc doctor`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam

import pytest

from svc.base import procfs
from tests.e2e.doctor.diagnosis import EVERY_PROGRAM, Cures, doctor, everything, find, run_command, wait_until_healthy
from tests.e2e.doctor.servers import json_server, render_instance_host
from tests.e2e.sites import Site
from tests.waiting import free_port, other_address

ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk, and become another user")
CLOCK = {"Date": "Thu, 01 Jan 2015 00:00:00 GMT"}
SMI = """#!/bin/sh
test -e {root}/driver-is-broken && {{ echo "NVIDIA-SMI has failed"; exit 9; }}
case "$1" in
--query-gpu=*) cat {root}/gpus.csv ;;
--query-compute-apps=*)
  while read -r gpu pid mib; do grep -q . "/proc/$pid/cmdline" && echo "$gpu, $pid, $mib"; done <{root}/uses ;;
esac 2>/dev/null
"""
GPUS = """0, GPU-aaaa, 80000, 10, 0, 31, 70, 0, Test
1, GPU-bbbb, 80000, {used}, 0, {temperature}, 70, {errors}, Test
"""


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.long
@ONLY_ROOT
@pytest.mark.cures(
    "disk.*: du -xah */.. | sort -h | tail -20",
    "disk.*: du -xah */.. | sort -h | tail -20",
)
def test_a_disk_that_is_full_and_one_that_is_nearly_full(site: Site, cures: Cures) -> None:
    root, ailing = site.root, site
    site.mock("one")
    left = root / "logs" / "large"
    with small_disk(root / "logs", "size=400m,nr_inodes=200"):
        left.write_bytes(bytes(350 << 20))
        full = find(ailing, "disk.logs")
        assert (full["severity"], "is full" in full["what"]) == ("problem", True)
        cures.look(ailing, full, "conf")
        left.unlink()
        assert full["key"] not in everything(doctor(ailing))
        files = [root / "logs" / str(number) for number in range(196)]
        for file in files:
            file.touch()
        low = find(ailing, "disk.logs")
        assert (low["severity"], "nearly full" in low["what"]) == ("warning", True)
        cures.look(ailing, low, "conf")
        for file in files:
            file.unlink()
        assert low["key"] not in everything(doctor(ailing))


@pytest.mark.long
@ONLY_ROOT
@pytest.mark.cures("disk.*: *chown -R $(id -u) *")
def test_a_directory_that_the_site_s_user_cannot_write(site: Site, cures: Cures) -> None:
    """Root has made it. The cure runs as the site's user, who may use sudo."""
    site.mock("one")
    site.svc("render")
    for name in ("var", "logs"):
        (site.root / name).mkdir(exist_ok=True)
    user = getpwnam("nobody").pw_uid
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, user, -1)
    logs = site.root / "logs"
    os.chown(logs, 0, 0)
    logs.chmod(0o755)
    finding = find(site, "disk.logs", user="nobody")
    assert finding["fix"] == "sudo chown -R $(id -u) logs"
    cures.apply(site, finding, command=finding["fix"].replace("$(id -u)", str(user)), leaves=("*",))
    assert logs.stat().st_uid == user
    assert finding["key"] not in everything(doctor(site, user="nobody"))


@pytest.mark.long
@pytest.mark.cures("open.*: svc down && svc up", "open.*: svc down && svc up")
def test_programs_that_may_open_few_files(site: Site, cures: Cures) -> None:
    """One by its command, and all because of the shell that started them."""
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    before = toml.read_text()
    script = 'args = ["-c", "ulimit -n 900; exec svc mock \\"$@\\"", "sh", '
    toml.write_text(before.replace('command = "svc mock"', 'command = "sh"').replace("args = [", script))
    run_command(site, "ulimit -n 1024 && svc up")
    finding = find(site, "open.one:server")
    toml.write_text(before)
    cures.apply(site, finding, restarts=EVERY_PROGRAM)
    finding = find(site, "open.registry", limits={"checks.resources.MAX_OPEN_SHARE": 0})
    assert "`ulimit -n 65536` in this shell" in finding["first"]
    cures.apply(site, finding, restarts=EVERY_PROGRAM, command=f"ulimit -n 4096 && {finding['fix']}")
    assert procfs.open_file_limit(site.pid("registry")) == 4096
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("dns.*: getent hosts *")
def test_a_registry_whose_name_is_not_known(site: Site, cures: Cures) -> None:
    name = "no-such-registry.invalid"
    config = site.root / "config" / "svc.toml"
    config.write_text(f'[launch]\ncomponents = "babysitter"\nregistry_url = "http://{name}:18000"\n')
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    toml.write_text(f'host = "{other_address()}"\n{toml.read_text()}')
    site.svc("render")
    finding = find(site, f"dns.{name}")
    cures.look(site, finding, status=2)
    config.write_text(config.read_text().replace(name, "127.0.0.1"))
    site.svc("render")
    assert finding["key"] not in everything(doctor(site))


@pytest.mark.long
@pytest.mark.cures("clock.*: date --utc")
def test_a_clock_that_is_wrong(site: Site, cures: Cures) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    render_instance_host(site, url)
    documents = {"/health": {"registry": "running", "status": "healthy"}, "/services": {"services": []}}
    with json_server(port, documents, CLOCK):
        finding = find(site, f"clock.{url}/health")
        assert "behind" in finding["what"]
        cures.look(site, finding, "UTC")
    with json_server(port, documents):
        assert finding["key"] not in everything(doctor(site, status=None))


def set_gpus(site: Site, used: object = 10, temperature: object = 31, errors: int = 0) -> None:
    """Set what nvidia-smi shows of GPU 1."""
    new = site.root / "gpus.csv.new"
    new.write_text(GPUS.format(used=used, temperature=temperature, errors=errors))
    new.replace(site.root / "gpus.csv")


@pytest.fixture
def gpus(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site on a machine whose nvidia-smi shows two GPUs."""
    programs = site.root / "programs"
    programs.mkdir()
    set_gpus(site)
    (site.root / "uses").touch()
    (programs / "nvidia-smi").write_text(SMI.format(root=site.root))
    (programs / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return site


def give_gpu(site: Site, name: str, devices: str) -> None:
    toml = site.root / "config" / f"{name}.toml"
    head = toml.read_text().partition("env = ")[0]
    toml.write_text(f'{head}env = {{ CUDA_VISIBLE_DEVICES = "{devices}" }}\n')


@pytest.mark.long
@pytest.mark.cures("gpu.*: svc up", "gpu.shared.*.*: svc up", "gpu.driver: *")
def test_gpus_that_are_absent_or_shared_and_a_driver_that_fails(gpus: Site, cures: Cures) -> None:
    site = gpus
    for name, model in (("one", "m"), ("two", "n")):
        site.mock(name, model, heartbeat_interval=1)
    give_gpu(site, "one", "7")
    give_gpu(site, "two", "1")
    site.svc("up")
    finding = find(site, "gpu.one")
    assert "GPU 7, which is not there" in finding["what"]
    give_gpu(site, "one", "1")
    cures.apply(site, finding, restarts=("one:*",))
    finding = find(site, "gpu.shared.CUDA_VISIBLE_DEVICES.1")
    give_gpu(site, "one", "0")
    cures.apply(site, finding, restarts=("one:*",))
    wait_until_healthy(site)
    (site.root / "driver-is-broken").touch()
    cures.look(site, find(site, "gpu.driver"), "has failed", status=9)
    (site.root / "driver-is-broken").unlink()
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures(
    "gpu.resources.*: svc up", "gpu.stranger.*: kill *", "gpu.errors.*: svc gpus", "gpu.fault.*: svc gpus"
)
def test_gpus_that_are_needed_and_absent_held_by_others_or_broken(gpus: Site, cures: Cures) -> None:
    site = gpus
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    toml.write_text(f"{toml.read_text()}[resources]\ngpus = [7]\n")
    site.svc("up")
    finding = find(site, "gpu.resources.one")
    assert "needs GPU 7" in finding["what"]
    toml.write_text(toml.read_text().replace("[7]", "[1]"))
    cures.apply(site, finding, restarts=("one:*",))
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (site.root / "uses").write_text(f"GPU-bbbb {stranger.pid} 3000\n")
        finding = find(site, f"gpu.stranger.{stranger.pid}")
        assert "holds 3.15 GB of GPU 1" in finding["what"]
        assert "sleep 60" in finding["why"]
        cures.apply(site, finding)
    set_gpus(site, errors=2)
    cures.look(site, find(site, "gpu.errors.1"), "2")
    set_gpus(site, temperature="[GPU requires reset]")
    cures.look(site, find(site, "gpu.fault.1"), "GPU requires reset")
    set_gpus(site)
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("gpu.*: nvidia-smi")
def test_a_machine_without_gpus(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    give_gpu(site, "one", "0")
    site.svc("up")
    finding = find(site, "gpu.one")
    assert "shows none" in finding["what"]
    cures.look(site, finding, "nvidia-smi", status=127)
