"""Requests that wait for an instance on demand, with the cure of `svc doctor`."""

import os
import threading

import pytest

from tests.e2e.doctor.diagnosis import Cures, doctor, everything, find
from tests.e2e.sites import Site

SOON = {"checks.on_demand.LONG_WAIT_SECONDS": 1}


@pytest.mark.long
@pytest.mark.cures("wake.*: svc gpus")
def test_requests_that_wait_for_room_on_a_gpu(site: Site, cures: Cures) -> None:
    gpus = site.root / "var" / "gpus"
    site.svc("mock-gpus", str(gpus), "--gpus", "1", "--memory", "80GB")
    for name in ("one", "two"):
        site.mock(name, name, "--gpu-memory", "50GB", on_demand="true", heartbeat_interval=1)
        path = site.root / "config" / f"{name}.toml"
        needs = f'[metadata]\nmodels = ["{name}"]\n[resources]\ngpus = [0]\ngpu_memory = "50GB"\n'
        path.write_text(path.read_text() + needs)
    variables = {"SVC_MOCK_GPUS": str(gpus / "gpus.json"), "PATH": f"{gpus}:{os.environ['PATH']}"}
    site.svc("up", **variables)
    site.svc("wake", "one", "--wait", "--timeout", "60s")  # it is kept awake
    waiting = threading.Thread(target=site.chat, args=("two",), daemon=True)
    waiting.start()
    finding = find(site, "wake.two", limits=SOON)
    assert "held by one (kept awake)" in finding["why"]
    cures.look(site, finding, "one 50 GB")
    site.svc("sleep", "one")
    waiting.join(30)
    assert "wake.two" not in everything(doctor(site, status=None, limits=SOON))
