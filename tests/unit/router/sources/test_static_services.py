import json
from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.router.sources.static_services import read_static

ONE = {"name": "a", "host": "10.0.0.7", "port": 8100}


def read(tmp_path: Path, content: object) -> list:
    path = tmp_path / "static.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_static(path)


@pytest.mark.parametrize(
    "content", [[ONE], {"services": [ONE]}, {"static_services": {"services": [ONE]}}, {"static_services": [ONE]}]
)
def test_the_file_has_three_formats(tmp_path: Path, content: object):
    (service,) = read(tmp_path, content)
    assert (service.name, service.url, service.weight, service.static) == ("a", "http://10.0.0.7:8100", 1, True)
    assert service.accepts_requests()


def test_all_fields_of_a_service_are_read(tmp_path: Path):
    content = {**ONE, "host": "::1", "weight": 3, "metadata": {"type": "openai-api", "models": ["m"]}, "comment": 1}
    (service,) = read(tmp_path, [content])
    assert (service.host, service.url, service.weight, service.models) == ("::1", "http://[::1]:8100", 3, ("m",))
    (secure,) = read(tmp_path, [{**ONE, "url": "https://api:8443/"}])
    assert (secure.host, secure.port, secure.secure) == ("api", 8443, True)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_host_may_have_brackets(tmp_path: Path, host: str):
    (service,) = read(tmp_path, [{**ONE, "host": host}])
    assert (service.host, service.url, service.authority) == ("::1", "http://[::1]:8100", b"[::1]:8100")


def test_missing_models_are_discovered_and_an_empty_list_means_none(tmp_path: Path):
    empty, named = ({**ONE, "name": name, "metadata": {"models": models}} for name, models in (("b", []), ("c", ["m"])))
    assert [service.discovers_models for service in read(tmp_path, [ONE, empty, named])] == [True, False, False]


@pytest.mark.parametrize("entry", [{"health_url": "http://h/up"}, {"metadata": {"health_url": "http://h/up"}}])
def test_a_health_url_may_be_in_the_entry_or_its_metadata(tmp_path: Path, entry: dict):
    (service,) = read(tmp_path, [{**ONE, **entry}])
    assert service.health_url == "http://h/up"
    assert service.babysitter_url is None


def test_an_empty_file_is_no_error(tmp_path: Path):
    assert read(tmp_path, []) == []


def test_all_problems_are_reported_at_once(tmp_path: Path):
    path = tmp_path / "static.json"
    content = [
        7,
        {},
        {**ONE, "port": "8100"},
        {**ONE, "port": True},
        {**ONE, "port": 70000},
        {**ONE, "name": ""},
        {**ONE, "weight": -1},
        {**ONE, "weight": 1.5},
        {**ONE, "metadata": []},
        {**ONE, "url": "ftp://h"},
        ONE,
        ONE,
        {**ONE, "name": "m", "metadata": {"models": "m"}},
        {**ONE, "name": "h", "host": "http://h"},
        {**ONE, "name": "i", "host": "[::1"},
        {**ONE, "name": "j", "health_url": "/up"},
        {**ONE, "name": "k", "metadata": {"health_url": 7}},
        {**ONE, "name": "l", "url": "http://h:x"},
        {**ONE, "name": "n", "weigth": 2},
        {**ONE, "name": "o", "models": ["m"]},
        {**ONE, "name": "p", "metadata": {"continues": "yes", "continues_messages": 1}},
    ]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, content)
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
        f"{path}: services[13]: host: must be a name or an address, without port or http://, not 'http://h'",
        f"{path}: services[14]: host: must be a name or an address, without port or http://, not '[::1'",
        f"{path}: services[15]: health_url: must be like http://HOST:PORT/PATH, not '/up'",
        f"{path}: services[16]: metadata: health_url: must be like http://HOST:PORT/PATH, not 7",
        f"{path}: services[17]: url: must be http://HOST:PORT or https://HOST:PORT, not 'http://h:x'",
        f"{path}: services[18]: weigth: unknown key; there are name, host, port, weight, metadata, url, health_url",
        f'{path}: services[19]: models: belongs into metadata; write "metadata": {{"models": [...]}}',
        f"{path}: services[20]: metadata: continues: must be true or false, not 'yes'",
        f"{path}: services[20]: metadata: continues_messages: must be true or false, not 1",
        f"{path}: two services are called 'a'; give each its own name",
    ]


@pytest.mark.parametrize("content", ["{", "", '{"services": 7}', '"x"', "7", "null", '{"other": []}', "\ud800"])
def test_anything_but_a_list_of_services_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "static.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"static.json: (not JSON|must be a list of services)"):
        read_static(path)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none.json: cannot read it: No such file or directory"):
        read_static(tmp_path / "none.json")
