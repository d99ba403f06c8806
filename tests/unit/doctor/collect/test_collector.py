"""The registries that the doctor asks, each of them once."""

from svc.config.settings_file import load_settings
from svc.doctor.collect.collector import registry_urls
from svc.site.components import Component

OWN = Component("registry", "registry", "0.0.0.0", (18000,), ("registry",))  # noqa: S104 - the address of a file


def instance(name, registry_url):
    return Component(name, "babysitter", "gpu7", (8100, 8101), (f"{name}:server", f"{name}:babysitter"), registry_url)


def test_the_sites_own_registry_is_asked_once_under_all_its_names():
    components = [OWN, instance("a", "http://localhost:18000"), instance("b", "http://127.0.0.1:18000")]
    assert registry_urls(load_settings(), components, {}) == {"http://127.0.0.1:18000": True}


def test_registries_on_other_machines_are_not_the_sites_own():
    components = [OWN, instance("a", "http://head:18000,http://spare:18000")]
    urls = registry_urls(load_settings(), components, {})
    assert urls == {"http://127.0.0.1:18000": True, "http://head:18000": False, "http://spare:18000": False}


def test_a_registry_that_only_the_settings_name_is_asked_by_an_empty_site():
    settings = load_settings(flags={"launch": {"registry_url": "http://head:18000"}})
    assert registry_urls(settings, [], {}) == {"http://head:18000": False}
    assert registry_urls(settings, [OWN], {}) == {"http://127.0.0.1:18000": True}
