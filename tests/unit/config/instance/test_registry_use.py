"""What `svc check` and `svc plan` show of the registries that instances use."""

import pytest

from svc.config.instance.registry_use import registry_uses, use_line
from svc.config.settings_file import load_settings
from tests.unit.instance_configs import instance_config

TWO = ("http://10.0.0.1:18000", "http://10.0.0.2:18000")
ELSEWHERE = load_settings(flags={"launch": {"components": "babysitter"}})


def lines(*configs, settings=ELSEWHERE):
    return [use_line(use) for use in registry_uses(configs, settings)]


@pytest.mark.parametrize("url", ["http://localhost:18000", "http://127.0.0.1:18000"])
def test_the_sites_own_registry_alone_is_not_shown(url):
    assert lines(instance_config(registry_urls=(url,)), settings=load_settings()) == []
    assert lines(instance_config(registry_urls=(url,))) == [f"registry of qwen: {url}"]


def test_instances_with_the_same_registries_have_one_line():
    configs = [instance_config(name=name, registry_urls=TWO) for name in ("a", "b")]
    assert lines(*configs) == [f"registry of a, b: {TWO[0]}, then {TWO[1]}"]


def test_a_setting_that_replaces_the_files_registries_is_named():
    config = instance_config(registry_urls=TWO[:1], registry_setting="registry_url", unused_registry_urls=TWO)
    assert lines(config) == [
        f"registry of qwen: {TWO[0]} (by registry_url under [launch], or REGISTRY_URL; "
        f"{TWO[0]}, {TWO[1]} in the TOML is not used)"
    ]


def test_a_setting_is_shown_even_if_it_names_the_own_registry():
    config = instance_config(registry_setting="babysitter_registry_url", unused_registry_urls=TWO)
    [line] = lines(config, settings=load_settings())
    assert "by babysitter_registry_url under [launch], or BABYSITTER_REGISTRY_URL" in line
