"""Facts that are collected from this machine."""

from svc.doctor.collect import machine_facts
from svc.doctor.facts import (
    API_KEYS,
)


def test_the_router_s_file_of_keys_is_read(tmp_path):
    path = tmp_path / "keys.toml"
    assert machine_facts.secret_file(path, "keys_file", API_KEYS).missing
    path.write_text("[keys")
    assert "not TOML" in machine_facts.secret_file(path, "keys_file", API_KEYS).errors[0]
