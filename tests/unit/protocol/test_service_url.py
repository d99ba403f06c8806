"""URLs of services: only those that every parser reads in the same way."""

from urllib.parse import urlsplit

import pytest
from urllib3.util import parse_url

from svc.protocol.service_url import MAX_URL_LENGTH, is_service_host, is_service_url, parse_service_url

TAKEN = [
    ("http://gpu7:8100", ("http", "gpu7", 8100, "", "")),
    ("https://models.example/v1", ("https", "models.example", 443, "/v1", "")),
    ("http://10.0.0.7:1/%2e/@a:b?c=d&e=/x", ("http", "10.0.0.7", 1, "/%2e/@a:b", "?c=d&e=/x")),
    ("http://[fd00::7]:65535/", ("http", "fd00::7", 65535, "/", "")),
    ("http://GPU_7.lab.:80", ("http", "GPU_7.lab.", 80, "", "")),
]
REFUSED = [
    "https://127.0.0.2:1\\@localhost:2",
    "http://a\\b:1",
    "http://user:pw@h:1",
    "http://@h",
    "http://h:1/#f",
    "http://h:1/\r\nX: y",
    "http://h:1/\x1b[2J",
    "http://h:1/a b",
    " http://h:1",
    "http://h:1\n",
    "http://h:1/ü",
    "httpx://h",
    "HTTP://h",
    "ftp://h",
    "//h",
    "h:1",
    "",
    "http://",
    "http://:1",
    "http://h:",
    "http://h:0",
    "http://h:65536",
    "http://h:080",
    "http://h:1:2",
    "http://h%2e:1",
    "http://127.1",
    "http://0x7f000001",
    "http://2130706433",
    "http://0",
    "http://1.2.3.256",
    "http://[::1",
    "http://[::1%25eth0]",
    "http://[10.0.0.7]",
    "http://h/%zz",
    "http://h/a|b",
    "http://h/<a>",
    "http://-h",
    "http://h?a b",
    f"http://h/{'a' * MAX_URL_LENGTH}",
]


@pytest.mark.parametrize(("url", "parts"), TAKEN)
def test_other_parsers_read_an_accepted_url_in_the_same_way(url: str, parts: tuple[object, ...]):
    parsed = parse_service_url(url)
    assert parsed == parts
    assert urlsplit(url).hostname == (parse_url(url).host or "").strip("[]") == parsed.host.lower()
    assert (urlsplit(url).port or parsed.port) == (parse_url(url).port or parsed.port) == parsed.port


@pytest.mark.parametrize("url", REFUSED)
def test_an_ambiguous_url_is_refused(url: str):
    assert not is_service_url(url)
    with pytest.raises(ValueError, match="."):
        parse_service_url(url)


def test_a_value_that_is_no_text_is_no_url():
    assert not is_service_url(["http://h"])
    assert not is_service_url(None)


def test_a_query_is_accepted_only_where_it_is_allowed():
    assert is_service_url("http://h/a?b")
    assert not is_service_url("http://h/a?b", query=False)


@pytest.mark.parametrize("host", ["127.1", "0", "1.2.3.4.", "fe80::1%eth0", "fe80::1%\x1b[2J", "a b", "", "[::1]"])
def test_a_text_that_is_no_host_of_the_network_is_refused(host: str):
    assert not is_service_host(host)
