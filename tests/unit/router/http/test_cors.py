import pytest

from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.router.http.cors import ADMITTED, cors_headers, preflight_headers
from svc.router.http.request import HeadRules, RequestHead

PAGE = "https://chat.example"
UPGRADE = {"method": b"GET", "connection": b"upgrade", "upgrade": b"websocket"}


def rules(*origins):
    return BrowserRules(Hosts(loopback_only=True), SettingNames(""), origins)


def decision(rules, *headers, **special):
    names = {name.replace("_", "-").encode(): value for name, value in {"host": b"localhost", **special}.items()}
    method = names.pop(b"method", b"POST")
    return RequestHead(method, b"/v1/messages", headers, names, rules=HeadRules(browsers=rules)).origin_decision


def test_a_program_that_is_no_browser_is_admitted_without_a_line():
    assert decision(rules()) == ADMITTED


@pytest.mark.parametrize("special", [{}, UPGRADE], ids=["a POST", "a WebSocket"])
def test_a_foreign_page_is_refused(special):
    assert decision(rules(), **special, origin=b"https://evil.example").origin_refused
    assert decision(rules(PAGE), **special, origin=b"https://evil.example").origin_refused
    assert not decision(rules(PAGE), **special, origin=PAGE.encode()).origin_refused
    assert not decision(rules(), **special, origin=b"http://localhost").origin_refused
    forwarded = (b"X-Forwarded-Host", b"llm.example.org")
    assert not decision(rules(), forwarded, **special, origin=b"https://llm.example.org").origin_refused


def test_a_rebound_name_is_refused():
    assert decision(rules("*"), method=b"GET", host=b"evil.example").host_refused


def test_an_allowed_page_may_read_the_answer():
    lines = decision(rules(PAGE), origin=PAGE.encode()).lines
    assert lines.startswith(b"Vary: Origin\r\nAccess-Control-Allow-Origin: https://chat.example\r\n")
    assert b"x-request-id" in lines
    assert b"Credentials" not in lines


def test_answers_differ_by_origin_only_where_the_setting_makes_them():
    assert cors_headers(rules(), PAGE) == ()
    assert cors_headers(rules(PAGE), None) == cors_headers(rules(PAGE), "null") == (("Vary", "Origin"),)
    assert dict(cors_headers(rules("*"), "null"))["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_allows_the_headers_that_it_asks_for():
    allowed = dict(preflight_headers("authorization,x-stainless-os", True))
    assert allowed["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
    assert allowed["Access-Control-Allow-Private-Network"] == "true"
    assert "DELETE" in allowed["Access-Control-Allow-Methods"]
    assert len(preflight_headers("x" * 10_000, False)) == len(preflight_headers("", False))
