from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.router.settings_check import check_settings, read_keys, read_upstream_keys, tls_context
from svc.settings import RouterSettings

REGISTRY = "http://127.0.0.1:18000"


def test_a_router_needs_instances_from_somewhere():
    with pytest.raises(ConfigError, match="--registry-url, or --static-services, or both"):
        check_settings(RouterSettings(registry_url="", static_services=""))
    check_settings(RouterSettings(registry_url=REGISTRY))


@pytest.mark.parametrize(
    "name", ["static_services", "registry_token_file", "keys_file", "upstream_keys_file", "upstream_ca"]
)
def test_a_missing_file_is_an_error_that_names_it(name: str, tmp_path: Path):
    path = tmp_path / "missing"
    with pytest.raises(ConfigError, match=str(path)):
        check_settings(RouterSettings(registry_url=REGISTRY, **{name: str(path)}))


@pytest.mark.parametrize("name", ["trusted_proxies", "metrics_networks"])
def test_an_invalid_network_is_an_error_that_names_the_setting(name: str):
    with pytest.raises(ConfigError, match=name):
        check_settings(RouterSettings(registry_url=REGISTRY, **{name: "10.0.0.0/99"}))


@pytest.mark.parametrize("settings", [{"certfile": "c"}, {"keyfile": "k"}])
def test_certificate_and_key_go_together(settings: dict[str, str]):
    with pytest.raises(ConfigError, match="go together"):
        tls_context(RouterSettings(**settings))


def test_the_unreadable_one_of_certificate_and_key_is_named(tmp_path: Path):
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    certificate.write_text("not a certificate")
    with pytest.raises(ConfigError, match=f"{key}: cannot read it"):
        tls_context(RouterSettings(certfile=str(certificate), keyfile=str(key)))
    key.write_text("not a key")
    with pytest.raises(ConfigError, match="no certificate"):
        tls_context(RouterSettings(certfile=str(certificate), keyfile=str(key)))


def test_a_file_without_a_ca_certificate_is_an_error(tmp_path: Path):
    path = tmp_path / "ca"
    path.write_text("not a certificate")
    with pytest.raises(ConfigError, match="upstream_ca"):
        check_settings(RouterSettings(registry_url=REGISTRY, upstream_ca=str(path)))


def test_without_settings_there_are_neither_keys_nor_tls():
    settings = RouterSettings()
    assert (read_keys(settings), read_upstream_keys(settings), tls_context(settings)) == (None, None, None)
