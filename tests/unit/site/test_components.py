"""What is read back from the generated files is what went into them."""

import dataclasses
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.instance.load import load
from svc.config.settings_file import load_settings
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import render
from svc.site.components import Component, parse_components, shares_registry

TOML = """
name = "qwen"
host = "10.0.0.5"
port = 8100
registry_url = "http://10.0.0.1:18000"
[backend]
type = "command"
command = "serve"
args = ["--port", "9", "--", "--host", "% ; # ' \\" \\n x", "-- svc babysitter --host 1"]
env = { A = "% ; # x" }
"""


@pytest.fixture
def components(tmp_path):
    (tmp_path / "config").mkdir()
    toml = tmp_path / "config" / "qwen.toml"
    toml.write_text(TOML)
    settings = load_settings(None, {"ROUTER_HOST": "0.0.0.0", "REGISTRY_PORT": "18001"})
    texts = render(load([toml], settings), settings, RenderPaths.of(tmp_path))
    return parse_components({Path(n): text for n, text in texts.items() if n.startswith("conf.d/")})


def test_every_component_is_read_with_its_address_and_programs(components):
    registry, router, qwen = components
    assert registry == Component("registry", "registry", "127.0.0.1", (18001,), ("registry",))
    assert router == Component("router", "router", "0.0.0.0", (8000,), ("router",), "http://localhost:18001")
    assert qwen == Component(
        "qwen",
        "babysitter",
        "10.0.0.5",
        (8100, 8101),
        ("qwen:server", "qwen:babysitter"),
        "http://10.0.0.1:18000",
        "../config/qwen.toml",
    )


def test_the_urls_for_others_and_for_this_machine(components):
    registry, router, qwen = components
    assert (router.own_url, router.health_url) == ("http://127.0.0.1:8000", "http://127.0.0.1:8000/readyz")
    assert (registry.url, registry.health_url) == ("http://127.0.0.1:18001", "http://127.0.0.1:18001/health")
    assert (qwen.url, qwen.health_url) == ("http://10.0.0.5:8100", "http://127.0.0.1:8101/health")
    assert [qwen.address_of(name) for name in qwen.programs] == ["10.0.0.5:8100", "10.0.0.5:8101"]


def test_two_names_of_one_registry_are_the_same(components):
    _, router, qwen = components
    assert not shares_registry(router, qwen)
    near = Component("a", "babysitter", "localhost", (1, 2), (), "http://127.0.0.1:18001")
    assert shares_registry(router, near)


def test_two_lists_of_registries_are_shared_if_one_registry_is_in_both():
    router = Component("router", "router", "h", (8000,), ("router",), "http://a:1,http://b:1")
    instance = Component("q", "babysitter", "gpu7", (1, 2), (), "http://c:1,http://b:1")
    assert shares_registry(router, instance)
    assert not shares_registry(router, dataclasses.replace(instance, registry_url="http://c:1,http://d:1"))


def test_a_file_that_was_changed_by_hand_is_named_with_the_cure():
    with pytest.raises(CommandError, match=r"x\.conf: not as svc render writes it; run svc render"):
        parse_components({Path("x.conf"): "[group:x]\nprograms=y\n"})


@pytest.mark.parametrize("host", ["fd00::7", "::1"])
def test_an_instance_on_ipv6_is_reached_at_the_ipv6_loopback(tmp_path, host):
    (tmp_path / "config").mkdir()
    toml = tmp_path / "config" / "qwen.toml"
    toml.write_text(TOML.replace("10.0.0.5", host).replace("10.0.0.1", "localhost"))
    settings = load_settings(flags={"launch": {"components": "babysitter"}})
    texts = render(load([toml], settings), settings, RenderPaths.of(tmp_path))
    assert texts["conf.d/qwen.conf"].count(" --ipv6 ") == 2
    (qwen,) = parse_components({Path(n): text for n, text in texts.items() if n.startswith("conf.d/")})
    assert (qwen.host, qwen.url, qwen.ports) == (host, f"http://[{host}]:8100", (8100, 8101))
    assert (qwen.own_url, qwen.health_url) == ("http://[::1]:8100", "http://[::1]:8101/health")
    assert qwen.address_of("qwen:babysitter") == f"[{host}]:8101"


def test_only_an_instance_on_ipv6_listens_on_ipv6(components):
    assert [component.listens_on_ipv6 for component in components] == [False, False, False]


@pytest.mark.parametrize(
    ("source", "toml"),
    [
        ("../config/a.toml", "config/a.toml"),
        ("../../config/a.toml", "config/a.toml"),
        ("/etc/a.toml", "/etc/a.toml"),
        ("", ""),
    ],
)
def test_the_toml_of_an_instance_is_named_from_the_sites_root(source, toml):
    assert Component("a", "babysitter", "localhost", (1, 2), (), source=source).toml == toml


@pytest.mark.parametrize(("name", "on_demand"), [("on-demand", True), ("vllm", False)])
def test_an_instance_whose_server_supervisord_does_not_start_is_on_demand(name, on_demand):
    path = Path(__file__).parents[1] / "render" / "expected" / f"{name}.conf"
    (instance,) = parse_components({path: path.read_text()})
    assert instance.on_demand is on_demand
