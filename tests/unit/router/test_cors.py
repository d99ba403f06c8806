import pytest

from svc.perimeter.browsers import BrowserRules, Wording
from svc.perimeter.hosts import Hosts
from svc.router.cors import ADMITTED, answer_headers, judge, preflight_headers
from tests.unit.router.made import request

PAGE = "https://chat.example"
UPGRADE = {"method": b"GET", "connection": b"upgrade", "upgrade": b"websocket"}


def rules(*origins):
    return BrowserRules(Hosts(loopback_only=True), Wording(""), origins)


def verdict(rules, *headers, **special):
    return judge(rules, request(b"", *headers, **{"host": b"localhost", **special}).head)


def test_a_program_that_is_no_browser_is_admitted_without_a_line():
    assert verdict(rules()) is ADMITTED


@pytest.mark.parametrize("special", [{}, UPGRADE], ids=["a POST", "a WebSocket"])
def test_a_foreign_page_is_refused(special):
    assert verdict(rules(), **special, origin=b"https://evil.example").origin_refused
    assert verdict(rules(PAGE), **special, origin=b"https://evil.example").origin_refused
    assert not verdict(rules(PAGE), **special, origin=PAGE.encode()).origin_refused
    assert not verdict(rules(), **special, origin=b"http://localhost").origin_refused
    forwarded = (b"X-Forwarded-Host", b"llm.example.org")
    assert not verdict(rules(), forwarded, **special, origin=b"https://llm.example.org").origin_refused


def test_a_rebound_name_is_refused():
    assert verdict(rules("*"), method=b"GET", host=b"evil.example").host_refused


def test_an_allowed_page_may_read_the_answer():
    lines = verdict(rules(PAGE), origin=PAGE.encode()).lines
    assert lines.startswith(b"Vary: Origin\r\nAccess-Control-Allow-Origin: https://chat.example\r\n")
    assert b"x-request-id" in lines
    assert b"Credentials" not in lines


def test_answers_differ_by_origin_only_where_the_setting_makes_them():
    assert answer_headers(rules(), PAGE) == ()
    assert answer_headers(rules(PAGE), None) == answer_headers(rules(PAGE), "null") == (("Vary", "Origin"),)
    assert dict(answer_headers(rules("*"), "null"))["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_allows_the_headers_that_it_asks_for():
    allowed = dict(preflight_headers("authorization,x-stainless-os", True))
    assert allowed["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
    assert allowed["Access-Control-Allow-Private-Network"] == "true"
    assert "DELETE" in allowed["Access-Control-Allow-Methods"]
    assert len(preflight_headers("x" * 10_000, False)) == len(preflight_headers("", False))
