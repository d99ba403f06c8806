"""Files of keys that a site's programs could not read."""

import pytest

from svc.config.settings_file import load_settings
from svc.site.components import Component
from svc.site.secret_files import secret_file_problems

ROUTER = Component("router", "router", "127.0.0.1", (8000,), ("router",))
ONE = Component(
    "one", "babysitter", "localhost", (8100, 8101), ("one:server", "one:babysitter"), source="../config/one.toml"
)


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("config", "conf.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "one.toml").write_text(
        'name = "one"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\napi_key_file = "one.key"\n'
    )
    return tmp_path


def problems(site, *components, **router):
    return secret_file_problems(components, site / "conf.d", load_settings(flags={"router": router}))


def test_each_problem_is_one_line_with_its_component_and_setting(site):
    [keys, upstream, engine] = problems(site, ROUTER, ONE, keys_file="keys.toml", upstream_keys_file="upstream.toml")
    assert keys.startswith("router: keys.toml: cannot read the keys: No such file")
    assert keys.endswith("make it with `svc keys add NAME`")
    assert upstream.startswith("router: upstream.toml: cannot read the file that upstream_keys_file names")
    assert engine.startswith("one: one.key: cannot read the file that [backend] api_key_file in config/one.toml names")
    (site / "one.key").write_text("two keys")
    assert problems(site, ONE) == [
        "one: one.key: must hold one API key of printable ASCII, without blanks, and nothing else; correct the file"
    ]


def test_readable_files_and_those_of_other_components_are_no_problem(site):
    (site / "one.key").write_text("sk-1")
    assert problems(site, ONE, keys_file="keys.toml") == []
    assert problems(site, ROUTER) == []
