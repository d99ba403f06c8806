"""Which registries an instance uses, by the settings of its site and by its TOML, even one with errors."""

import pytest

from svc.config.instance.site_values import registries_of, unused_registries
from svc.config.settings_file import load_settings

TOML = {"registry_url": ["http://a:1", "http://b:1"], "port": "not a number"}


def settings(**launch):
    return load_settings(flags={"launch": launch})


@pytest.mark.parametrize(
    ("launch", "urls", "unused"),
    [
        ({}, ["http://a:1", "http://b:1"], ()),
        ({"registry_url": "http://c:1,http://d:1"}, ["http://c:1", "http://d:1"], ("http://a:1", "http://b:1")),
        ({"registry_url": "http://a:1,http://b:1"}, ["http://a:1", "http://b:1"], ()),
        (
            {"registry_url": "http://c:1", "babysitter_registry_url": "http://e:1"},
            ["http://e:1"],
            ("http://a:1", "http://b:1"),
        ),
    ],
)
def test_a_setting_wins_over_the_toml(launch, urls, unused):
    assert registries_of(TOML, settings(**launch)) == urls
    assert unused_registries(TOML, settings(**launch)) == unused


@pytest.mark.parametrize("value", [5, [5], None, {}, "", []])
def test_a_toml_that_names_no_registry_has_none(value):
    assert registries_of({"registry_url": value}, settings()) == []
