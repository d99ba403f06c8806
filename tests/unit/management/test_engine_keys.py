"""The API key that a management request shows to an engine."""

from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.management.engine_keys import engine_keys
from svc.management.fleet import EngineInstance


def test_the_key_of_a_toml_goes_to_the_address_of_that_toml_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, port in (("a", 8100), ("b", 8110)):
        path = tmp_path / "config" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'name = "{name}"\nport = {port}\n[backend]\ntype = "command"\ncommand = "true"\n'
            f'api_key_file = "{name}.key"\n'
        )
    (tmp_path / "a.key").write_text("key-of-a\n")  # that of b is missing, which `svc check` reports
    (tmp_path / "keys.toml").write_text('[instances]\na-server = "other"\n[models]\nm = "key-of-m"\n')
    find = engine_keys(Site(tmp_path), load_settings(flags={"router": {"upstream_keys_file": "keys.toml"}}))
    assert find(EngineInstance("a-server", "http://localhost:8100", ("m",))) == "key-of-a"
    assert find(EngineInstance("a-server", "http://elsewhere:8100", ("m",))) == "other"
    assert find(EngineInstance("b-server", "http://localhost:8110", ("m",))) == "key-of-m"
    assert find(EngineInstance("c-server", "http://localhost:8120", ("n",))) == ""
