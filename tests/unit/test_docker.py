"""The files in ops/docker, read by the tools that know their formats."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

from svc.config.instance.load import load_one
from svc.config.settings_file import load_settings
from svc.settings import ENVIRONMENT_VARIABLES
from tests.e2e import dockerfile
from tests.e2e.sites import ROOT

OPS = ROOT / "ops" / "docker"
BIN = Path(sys.executable).parent


def check(program: str, *arguments: str) -> None:
    """Run a checker of the `test` extra; it must find nothing."""
    if not (BIN / program).exists():
        pytest.skip(f"{program} is not installed (pip install -e '.[test]')")
    done = subprocess.run([str(BIN / program), *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_no_problem():
    check("hadolint", "ops/docker/Dockerfile")


def test_the_compose_file_matches_its_schema():
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "ops/docker/compose.yaml")


def test_the_guides_paths_lead_to_the_dockerfile():
    """By a link to the directory: BuildKit does not follow one that leaves the Dockerfile's own."""
    for name in ("Dockerfile", "Dockerfile.rust"):
        assert (ROOT / "docker" / name).resolve() == dockerfile.PATH
    assert (ROOT / "docker").is_symlink()
    assert (OPS / "Dockerfile.rust").readlink() == Path("Dockerfile")


def test_copied_files_are_in_the_build_context():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert lines[0] == "*", "nothing but what is named"
    for source in dockerfile.copied():
        assert list(ROOT.glob(source)), source
        assert any(fnmatch.fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in kept), source


def test_the_exposed_ports_are_the_defaults():
    settings = load_settings()
    assert dockerfile.last_value("EXPOSE").split() == [str(settings.router.port), str(settings.registry.port)]


def test_the_image_does_not_run_as_root():
    assert dockerfile.last_value("USER").split(":")[0].isdigit()
    assert int(dockerfile.last_value("USER").split(":")[0]) > 0


def test_every_variable_of_the_image_is_a_setting():
    assert {name for name in dockerfile.environ() if not name.startswith("PYTHON")} <= set(ENVIRONMENT_VARIABLES)
    text = (OPS / "compose.yaml").read_text()
    assert set(re.findall(r"^ +([A-Z_]+): ", text, re.M)) <= set(ENVIRONMENT_VARIABLES)


def test_every_variable_is_in_the_guide():
    named = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs" / "DOCKER.md").read_text()))
    assert set(ENVIRONMENT_VARIABLES) <= named, set(ENVIRONMENT_VARIABLES) - named


def test_the_instances_of_the_compose_file_are_valid():
    settings = load_settings(environ={"REGISTRY_URL": "http://control:18000", "BABYSITTER_HOST": "instance-a"})
    configs = [load_one(path, settings) for path in sorted(OPS.glob("instance-*/*.toml"))]
    assert [config.name for config in configs] == ["mock-a", "mock-b"]
    assert {config.token_file for config in configs} == {"/run/secrets/registry-token"}
