"""Programs, registries and packages of another version, with the cures of `svc doctor`."""

import json
import os
import shutil
import site as python_site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.doctor.diagnosis import EVERY_PROGRAM, Cures, doctor, everything, find, wait_until_healthy
from tests.e2e.doctor.servers import json_server, render_instance_host
from tests.e2e.sites import BIN, ROOT, Site
from tests.waiting import free_port


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A directory from which Python imports svc: a link to this svc, beside an older copy named `older`."""
    path = tmp_path / "code"
    path.mkdir()
    shutil.copytree(ROOT / "svc", path / "older")
    with (path / "older" / "settings.py").open("a") as module:
        module.write("# of an older version\n")
    (path / "svc").symlink_to(ROOT / "svc")
    return path


def use(code: Path, target: Path) -> None:
    (code / "svc").unlink()
    (code / "svc").symlink_to(target)


@pytest.mark.long
@pytest.mark.cures("version.old: svc down && svc up", "version.old: supervisorctl restart *")
def test_programs_from_before_an_upgrade(site: Site, cures: Cures, code: Path) -> None:
    site.mock("one", heartbeat_interval=1)
    use(code, code / "older")
    site.run(str(BIN / "svc"), "up", PYTHONPATH=str(code))
    finding = find(site, "version.old")
    cures.apply(site, finding, restarts=EVERY_PROGRAM)
    wait_until_healthy(site)
    site.svc("down")
    use(code, ROOT / "svc")
    site.run(str(BIN / "svc"), "up", PYTHONPATH=str(code))
    use(code, code / "older")
    site.run("supervisorctl", "restart", "registry", "one:babysitter")
    finding = find(site, "version.old", fix="*registry one:babysitter")
    use(code, ROOT / "svc")
    cures.apply(site, finding, restarts=("registry", "one:babysitter"))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("version.*: svc doctor")
def test_a_registry_on_another_machine_that_was_not_upgraded(site: Site, cures: Cures) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    render_instance_host(site, url)
    documents = {"/health": {"registry": "running", "status": "healthy"}, "/services": {"services": []}}
    with json_server(port, documents, {"X-Svc-Version": "0.0.1+0"}):
        finding = find(site, f"version.{url}")
    with json_server(port, documents):  # the operator has upgraded it
        cures.look(site, finding, "versions", status=None)
        assert finding["key"] not in everything(doctor(site, status=None))


@pytest.mark.long
@pytest.mark.cures("version.packages: * install *")
def test_a_package_that_is_too_old(site: Site, cures: Cures, tmp_path: Path) -> None:
    """In an environment of its own, which shows an old jinja2 before that of the tests."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    [packages] = venv.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text("\n".join([*python_site.getsitepackages(), str(ROOT)]))
    old = packages / "jinja2-1.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: jinja2\nVersion: 1.0\n")
    (old / "INSTALLER").write_text("pip\n")
    (old / "RECORD").write_text("".join(f"{old.name}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD")))
    svc = venv / "bin" / "svc"
    svc.write_text(f"#!{venv}/bin/python\nfrom svc.__main__ import main\nmain()\n")
    svc.chmod(0o755)
    site.mock("one", heartbeat_interval=1)

    def packages_finding() -> dict | None:
        out = site.run(str(svc), "doctor", "--json", status=None)[0]
        return everything(json.loads(out)["findings"]).get("version.packages")

    finding = packages_finding()
    assert finding
    assert "jinja2 is 1.0" in finding["why"]
    assert finding["fix"].startswith(str(venv / "bin" / "pip"))
    cures.look(site, finding, "Successfully installed")
    assert packages_finding() is None
    assert os.path.exists(packages / "jinja2")
