"""The wheel, pure Python or compiled, installed without a checkout, renders and runs a site."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.sites import ROOT

pytestmark = pytest.mark.timeout(1800)  # mypyc and the C compiler take a minute of CPU time


@pytest.fixture(scope="module", params=["pure Python", pytest.param("compiled", marks=pytest.mark.long)])
def wheel(request, tmp_path_factory) -> Path:
    """Return a wheel, built from a copy of the checkout so that the build leaves no files in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    if request.param == "compiled":
        subprocess.run([str(ROOT / "ops" / "wheel" / "build.sh"), str(out)], check=True)
        return next(out.glob("*-cp3*linux*.whl"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "svc", "templates"):
        subprocess.run(["cp", "-a", str(ROOT / name), str(source)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_has_only_svc_and_its_templates(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    templates = sorted(path.name for path in (ROOT / "templates").rglob("*.j2"))
    assert sorted(Path(name).name for name in names if name.startswith("svc/render/templates/")) == templates
    shared_code = {"svc_router__mypyc.cpython"} if "none-any" not in wheel.name else set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"svc", "infinilm_svc"} | shared_code


@pytest.mark.long
def test_the_wheel_runs_a_site_in_an_empty_environment(wheel, tmp_path, site, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)  # it would lead to the checkout
    directory = tmp_path / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([str(directory / "pip"), "install", "--quiet", str(wheel)], check=True)
    where = [str(directory / "python"), "-c", "import svc; print(svc.__file__)"]
    path = subprocess.run(where, cwd=site.root, capture_output=True, text=True, check=True).stdout
    assert path.startswith(str(tmp_path)), "not the checkout's"
    router = "pure Python" if "none-any" in wheel.name else "compiled"
    version = subprocess.run([str(directory / "svc"), "version", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(version.stdout)["router"] == router
    site.mock("one")
    svc = str(directory / "svc")  # not the forks of this process, which have imported the checkout's
    site.run(svc, "render")
    site.run(svc, "up")
    assert site.chat().ok
    assert str(directory) in " ".join(site.processes().values())
    site.run(svc, "down")
    for program in ("infini-registry", "infini-router", "infini-babysitter"):
        done = subprocess.run([str(directory / program), "--version"], capture_output=True, text=True)
        assert "version" in done.stdout, done.stderr
