"""The registries and the token of a site's commands, by its settings, its files and what runs."""

import pytest

from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.site import registry_access
from svc.site.components import Component

BACKEND = '[backend]\ntype = "mock"\nmodels = ["m"]\n'
CONTROL, SPARE = "http://10.0.0.1:18000", "http://10.0.0.2:18000"
OWN = Component("registry", "registry", "0.0.0.0", (19000,), ("registry",))  # noqa: S104 - the address of a file


def instance(registry_url):
    return Component("a", "babysitter", "gpu7", (8100, 8101), ("a:server", "a:babysitter"), registry_url)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    return Site(tmp_path)


@pytest.fixture
def access(site, monkeypatch):
    """Return a function that returns the registries and the token file of commands."""

    def access(running=None, registry=None, router=None, **launch):
        monkeypatch.setattr(registry_access, "running_components", lambda site: running)
        flags = {"launch": launch, "registry": registry or {}, "router": router or {}}
        settings = registry_access.with_registries(site, load_settings(flags=flags))
        return settings.launch.registry_url, settings.registry.token_file

    return access


def write(site, name, lines):
    (site.config / f"{name}.toml").write_text(f'name = "{name}"\nport = 8100\n{lines}\n{BACKEND}')


def test_a_site_uses_its_own_registry(access):
    assert access() == ("http://127.0.0.1:18000", "")


def test_the_registry_that_runs_is_the_own_one_whatever_the_settings_say(access):
    assert access(running=[OWN]) == ("http://127.0.0.1:19000", "")


def test_without_a_registry_of_its_own_a_site_uses_that_of_its_instances(access, site):
    write(site, "a", f'registry_url = ["{CONTROL}", "{SPARE}"]\ntoken_file = "/t"')
    assert access(components="babysitter") == (f"{CONTROL},{SPARE}", "/t")
    assert access(running=[instance("")]) == (f"{CONTROL},{SPARE}", "/t")


def test_the_registries_of_a_running_instance_come_before_those_of_its_file(access, site):
    write(site, "a", 'registry_url = "http://localhost:18000"\ntoken_file = "/t"')
    assert access(running=[instance(CONTROL)])[0] == CONTROL


def test_a_setting_wins_and_the_token_is_that_of_an_instance(access, site):
    write(site, "a", 'registry_url = "http://elsewhere:1"\ntoken_file = "/t"')
    assert access(registry_url=f"{CONTROL},{SPARE}") == (f"{CONTROL},{SPARE}", "/t")
    assert access(registry_url=CONTROL, registry={"token_file": "/own"}) == (CONTROL, "/own")


def test_the_token_of_an_instance_of_another_registry_is_not_sent(access, site):
    write(site, "a", f'registry_url = "{CONTROL}"\ntoken_file = "/t"')
    assert access(running=[OWN, instance(CONTROL)]) == ("http://127.0.0.1:19000", "")


@pytest.mark.parametrize("line", [f'registry_url = "{CONTROL}"', ""], ids=["other registry", "own registry"])
def test_a_registry_in_a_flag_gets_no_token_of_an_instance_elsewhere(site, line):
    write(site, "a", f'{line}\ntoken_file = "/t"')
    flags = {"launch": {"registry_url": SPARE}}
    settings = registry_access.with_registries(site, load_settings(flags=flags), load_settings())
    assert (settings.launch.registry_url, settings.registry.token_file) == (SPARE, "")


def test_a_registry_in_a_flag_gets_the_token_of_an_instance_that_registers_there(site):
    write(site, "a", f'registry_url = ["{CONTROL}", "{SPARE}"]\ntoken_file = "/t"')
    flags = {"launch": {"registry_url": SPARE}}
    assert (
        registry_access.with_registries(site, load_settings(flags=flags), load_settings()).registry.token_file == "/t"
    )


def test_the_own_registry_is_followed_by_those_in_its_list(access, site):
    write(site, "a", f'registry_url = ["{SPARE}", "http://localhost:18000"]')
    assert access()[0] == f"http://127.0.0.1:18000,{SPARE}"
    write(site, "b", 'registry_url = ["http://elsewhere:1"]')
    assert access()[0] == f"http://127.0.0.1:18000,{SPARE}"


def test_the_registries_of_the_router_are_used_too(access):
    assert access(components="router", router={"registry_url": f"{CONTROL},{SPARE}"})[0] == f"{CONTROL},{SPARE}"


def test_a_toml_with_errors_still_names_registry_and_token(access, site):
    (site.config / "a.toml").write_text(f'registry_url = "{CONTROL}"\ntoken_file = "/t"\nprot = 1\n')
    (site.config / "b.toml").write_text("not TOML")
    assert access(components="babysitter") == (CONTROL, "/t")


def test_an_unreadable_token_is_left_out_for_a_registry_on_this_machine(access, site):
    write(site, "a", 'token_file = "token"')
    assert access()[1] == ""
    (site.root / "token").write_text("secret-word")
    assert access()[1] == "token"


def test_lists_that_share_no_registry_are_not_connected():
    connected = registry_access.connected_registries
    assert connected([], [["a:1"], ["http://b:1"]]) == ["a:1"]
    assert connected([CONTROL], [[SPARE, CONTROL], ["http://b:1"]]) == [CONTROL, SPARE]
    assert connected([], []) == []
