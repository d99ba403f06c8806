import json
from pathlib import Path

import pytest

from svc.errors import ConfigError
from svc.router.static import read_static

ONE = {"name": "a", "host": "10.0.0.7", "port": 8100}


def read(tmp_path: Path, told: object) -> list:
    path = tmp_path / "static.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return read_static(path)


@pytest.mark.parametrize(
    "told", [[ONE], {"services": [ONE]}, {"static_services": {"services": [ONE]}}, {"static_services": [ONE]}]
)
def test_the_shapes_of_the_file(tmp_path: Path, told: object):
    (found,) = read(tmp_path, told)
    assert (found.name, found.url, found.weight, found.static) == ("a", "http://10.0.0.7:8100", 1, True)
    assert found.admitted()


def test_all_that_can_be_told(tmp_path: Path):
    told = {**ONE, "host": "::1", "weight": 3, "metadata": {"type": "openai-api", "models": ["m"]}, "comment": 1}
    (found,) = read(tmp_path, [told])
    assert (found.host, found.url, found.weight, found.models) == ("::1", "http://[::1]:8100", 3, ("m",))
    (secure,) = read(tmp_path, [{**ONE, "url": "https://api:8443/"}])
    assert (secure.host, secure.port, secure.secure) == ("api", 8443, True)


def test_no_services_are_no_error(tmp_path: Path):
    assert read(tmp_path, []) == []


def test_every_error_is_told_at_once(tmp_path: Path):
    path = tmp_path / "static.json"
    told = [
        7, {}, {**ONE, "port": "8100"}, {**ONE, "port": True}, {**ONE, "port": 70000}, {**ONE, "name": ""},
        {**ONE, "weight": -1}, {**ONE, "weight": 1.5}, {**ONE, "metadata": []}, {**ONE, "url": "ftp://h"}, ONE, ONE,
        {**ONE, "name": "m", "metadata": {"models": "m"}},
    ]  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, told)
    assert list(caught.value.problems) == [
        f"{path}: services[0]: must be an object with name, host and port",
        f"{path}: services[1]: name is missing",
        f"{path}: services[1]: host is missing",
        f"{path}: services[1]: port is missing",
        f"{path}: services[2]: port: must be a whole number, not '8100'",
        f"{path}: services[3]: port: must be a whole number, not True",
        f"{path}: services[4]: port: must be from 1 to 65535, not 70000",
        f"{path}: services[5]: name: must not be empty",
        f"{path}: services[6]: weight: must not be negative",
        f"{path}: services[7]: weight: must be a whole number, not 1.5",
        f"{path}: services[8]: metadata: must be an object, not []",
        f"{path}: services[9]: url: must be http://HOST:PORT or https://HOST:PORT, not 'ftp://h'",
        f"{path}: services[12]: metadata: models: must be a list of names, not 'm'",
        f"{path}: two services are called 'a'; give each its own name",
    ]


@pytest.mark.parametrize("told", ["{", "", '{"services": 7}', '"x"', "7", "null", '{"other": []}', "\ud800"])
def test_what_is_no_list_of_services(tmp_path: Path, told: str):
    path = tmp_path / "static.json"
    path.write_bytes(told.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"static.json: (not JSON|must be a list of services)"):
        read_static(path)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none.json: cannot read it: No such file or directory"):
        read_static(tmp_path / "none.json")
