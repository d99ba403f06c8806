import pytest

from svc.base.errors import Forbidden, Misdirected, UnsupportedMedia
from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts

OWN = {"host": "localhost:8000"}
SETTING_NAMES = SettingNames("the-hosts", "the-origins")


def rules(*origins, allowed=()):
    return BrowserRules(Hosts(allowed, loopback_only=True), SETTING_NAMES, origins)


def refused(rules, method="POST", from_proxy=False, **headers):
    """The kind of the refusal, None where the request may come in."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        rules.check(method, OWN | named, from_proxy)
    except (Forbidden, Misdirected, UnsupportedMedia) as error:
        return type(error)
    return None


def test_a_request_without_browser_headers_may_write():
    assert refused(rules()) is None
    assert refused(rules(), content_type="application/json; charset=utf-8", content_length="2") is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://localhost:3000",
        "http://localhost",
        "app://localhost:8000",
        "http://localhost:8000.evil.example",
        "http://localhost:8000, https://evil.example",
        "http://evil@localhost:8000",
        "http://127.0.0.1:8000",
        "localhost:8000",
        "http://",
    ],
)
def test_a_write_of_a_foreign_page_is_refused(origin):
    assert refused(rules(), origin=origin or "null") is Forbidden
    assert refused(rules(), "DELETE", origin=origin or "null") is Forbidden


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin, cross-site", "odd"])
def test_a_cross_site_request_is_refused_whatever_its_origin(site):
    assert refused(rules(), sec_fetch_site=site) is Forbidden
    assert refused(rules(), sec_fetch_site=site, origin="http://localhost:8000") is Forbidden


def test_the_servers_own_pages_may_write():
    assert refused(rules(), origin="http://localhost:8000") is None
    assert refused(rules(), origin="https://LOCALHOST:8000") is None, "TLS ends at a proxy"
    assert refused(rules(), origin="http://localhost", host="localhost:80") is None
    assert refused(rules(), origin="https://llm.example.org", sec_fetch_site="same-origin") is None
    assert refused(rules(), sec_fetch_site="none") is None


def test_an_origin_may_match_the_forwarded_host_of_a_proxy():
    passed = {"origin": "https://llm.example.org", "x_forwarded_host": "llm.example.org"}
    assert refused(rules(), **passed) is None
    assert refused(rules(), **passed | {"origin": "https://evil.example"}) is Forbidden


def test_a_read_of_a_foreign_page_is_not_refused():
    """It sends the request, but its browser gives it nothing of an answer without CORS headers."""
    assert refused(rules(), "GET", origin="https://evil.example", sec_fetch_site="cross-site") is None


def test_listed_origins_may_write():
    listed = rules("https://chat.example", "vscode-webview://abc")
    assert refused(listed, origin="https://chat.example", sec_fetch_site="cross-site") is None
    assert refused(listed, origin="vscode-webview://abc") is None
    assert refused(listed, origin="https://chat.example:8443") is Forbidden
    assert refused(rules("*"), origin="null") is None


def test_a_foreign_host_is_refused_for_reads_and_writes():
    for method in ("GET", "POST", "OPTIONS"):
        assert refused(rules(), method, host="evil.example:8000") is Misdirected
    assert refused(rules("*"), "GET", host="evil.example") is Misdirected


def test_a_trusted_proxy_may_send_any_host_unless_hosts_are_listed():
    assert refused(rules(), host="llm.example.org", from_proxy=True) is None
    assert refused(rules(allowed=("a.example",)), host="llm.example.org", from_proxy=True) is Misdirected


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx"])
def test_a_body_of_another_type_than_json_is_refused(media):
    assert refused(rules(), content_type=media, content_length="2") is UnsupportedMedia
    assert refused(rules(), content_type=media) is UnsupportedMedia, "chunked"
    assert refused(rules(), content_type=media, content_length="0") is None, "there is no body"


def test_errors_name_the_setting_and_quote_headers_in_ascii():
    with pytest.raises(Misdirected, match=r"^Host 'evil\\x1b' is not a name.*add 'evil\\x1b' to the-hosts$"):
        rules().check("GET", {"host": "evil\x1b"})
    with pytest.raises(Forbidden, match="'https://evil.example'.*the-origins$"):
        rules().check("POST", OWN | {"origin": "https://evil.example"})
