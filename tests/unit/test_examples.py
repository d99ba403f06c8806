"""The sites in ops/examples are valid, can be rendered, and have the settings that their descriptions promise."""

import re
import subprocess
from pathlib import Path

import pytest

from svc.config.instance.model import InstanceConfig
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render.generate import load_configs, plan_site
from svc.settings import ENVIRONMENT_VARIABLES, Settings
from tests.examples import EXAMPLES, tomls, variables
from tests.unit.test_docker import check

SITES = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
IN_CONTAINERS = [path for path in SITES if (path / "compose.yaml").exists()]
sites = pytest.mark.parametrize("example", SITES, ids=lambda path: path.name)
in_containers = pytest.mark.parametrize("example", IN_CONTAINERS, ids=lambda path: path.name)


def settings(example: Path) -> Settings:
    file = example / "config" / "svc.toml"
    return load_settings(file if file.exists() else None, variables(example))


def instances(name: str) -> dict[str, InstanceConfig]:
    example = EXAMPLES / name
    return {config.name: config for config in load_configs(tomls(example), settings(example))}


@sites
def test_an_example_is_valid_and_can_be_rendered(example, tmp_path):
    change = plan_site(Site(example), settings(example), tomls(example), tmp_path / "conf.d")
    written = {path.name for path in change.added}
    assert written >= {f"{path.stem}.conf" for path in tomls(example)}


@sites
def test_every_example_is_in_the_readme(example):
    assert f"| `{example.name}/` |" in (EXAMPLES / "README.md").read_text()


@in_containers
def test_the_variables_of_an_example_are_read(example):
    compose = (example / "compose.yaml").read_text()
    in_compose = set(re.findall(r"\$\{(\w+)\}", compose))
    assert variables(example).keys() <= in_compose | set(ENVIRONMENT_VARIABLES)
    assert in_compose <= variables(example).keys()
    assert set(variables(example)["BABYSITTER_CONFIGS"].split()) == {path.name for path in tomls(example)}


@in_containers
def test_a_shell_reads_the_same_variables(example):
    script = f"set -a; . {example}/.env.example; env -0"
    lines = subprocess.run(["sh", "-ec", script], env={}, capture_output=True, text=True, check=True).stdout.split("\0")
    assert dict(line.split("=", 1) for line in lines if line).items() >= variables(example).items()


@in_containers
def test_the_compose_file_of_an_example_matches_its_schema(example):
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(example / "compose.yaml"))


def test_a_worker_registers_itself_at_the_master():
    master, worker = settings(EXAMPLES / "metax-master"), settings(EXAMPLES / "metax-worker")
    address = variables(EXAMPLES / "metax-master")["BABYSITTER_HOST"]
    assert worker.launch.components == "babysitter"
    assert worker.launch.registry_url == f"http://{address}:{master.registry.port}"
    for name, host in (("metax-master", address), ("metax-worker", "10.0.0.11")):
        assert {config.host for config in instances(name).values()} == {host}
    names = [*instances("metax-master"), *instances("metax-worker")]
    assert len(names) == len(set(names)) == 4


def test_the_server_without_a_list_has_its_models_in_its_file():
    configs = instances("embeddings")
    assert "MiniCPM-Embedding-Light" in configs["embeddings"].metadata["models"]
    assert settings(EXAMPLES / "embeddings").router.allow_paths == ("POST /rerankbce",)


def test_the_instances_of_size_routing_have_both_kinds_of_cache():
    configs = instances("size-routing").values()
    assert {config.metadata["cache_type"] for config in configs} == {"paged", "static"}
    assert all(config.metadata["cache_type"] in config.backend.args for config in configs)
