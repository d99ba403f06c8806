"""The sessions of requests that are shaped as today's clients shape them. The sources are in the module's docstring."""

import json

import pytest

from svc.router.balance.routing_request import parse
from svc.router.http import session_headers
from svc.router.http.request import HeadRules, Request, RequestHead
from tests.unit.router.examples import request

CODEX = (b"User-Agent", b"codex_cli_rs/0.142.0 (Debian 13; x86_64) xterm"), (b"originator", b"codex_cli_rs")
CLAUDE_CODE = (b"User-Agent", b"claude-cli/2.1.168 (external, cli)"), (b"anthropic-version", b"2023-06-01")
OPENCODE = ((b"User-Agent", b"opencode/1.18.2"),)
CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "user": "whole-application"}).encode()
USER_ID = "user_f00d_account__session_0d5e8a9c-7f4e-4f0a-9d7e-4c1d9a3f7b21"
MESSAGES = json.dumps({"model": "m", "metadata": {"user_id": USER_ID}, "max_tokens": 9, "messages": []}).encode()
THREAD = b"0199a213-81c0-7800-8aa1-bbab2a035a53"


def test_codex_names_its_session_in_the_body():
    body = b'{"model":"m","instructions":"x","input":[],"store":false,"stream":true,"prompt_cache_key":"%b"}' % THREAD
    headers = (*CODEX, (b"session-id", b"s"), (b"thread-id", b"t"), (b"x-client-request-id", b"t"))
    assert parse(request(body, *headers, uri=b"/v1/responses")).session == THREAD


@pytest.mark.parametrize("name", [b"session-id", b"session_id", b"conversation_id"])
def test_codex_names_its_session_in_a_header(name: bytes):
    body = b'{"model":"m","instructions":"x","input":[],"store":false,"stream":true}'
    assert parse(request(body, *CODEX, (name, THREAD), uri=b"/v1/responses")).session == THREAD


def test_claude_code_names_its_session_in_a_header():
    headers = (*CLAUDE_CODE, (b"X-Claude-Code-Session-Id", b"0d5e8a9c"), (b"x-app", b"cli"))
    assert parse(request(MESSAGES, *headers, uri=b"/v1/messages?beta=true")).session == b"0d5e8a9c"


def test_claude_code_names_its_session_in_the_metadata():
    assert parse(request(MESSAGES, *CLAUDE_CODE, uri=b"/v1/messages?beta=true")).session == USER_ID.encode()


def test_opencode_names_its_session_in_a_header():
    headers = (*OPENCODE, (b"x-session-affinity", b"ses_1"), (b"X-Session-Id", b"ses_1"))
    assert parse(request(CHAT, *headers)).session == b"ses_1"
    assert parse(request(CHAT, *OPENCODE, (b"x-session-affinity", b"ses_2"))).session == b"ses_2"
    headers = (*OPENCODE, (b"x-opencode-project", b"p"), (b"x-opencode-session", b"ses_3"))
    assert parse(request(CHAT, *headers)).session == b"ses_3"


def test_open_webui_names_its_chat_in_a_header():
    agent, user = (b"User-Agent", b"Python/3.11 aiohttp/3.13.2"), (b"X-OpenWebUI-User-Id", b"u")
    assert parse(request(CHAT, agent, user, (b"X-OpenWebUI-Chat-Id", b"c4a7"))).session == b"c4a7"


def test_litellm_passes_a_session_on_in_a_header():
    agent = (b"User-Agent", b"AsyncOpenAI/Python 2.8.0")
    assert parse(request(CHAT, agent, (b"x-litellm-session-id", b"run-7"))).session == b"run-7"


def test_the_user_of_openai_is_no_session():
    assert parse(request(CHAT)).session == b""


def test_the_sources_of_a_session_have_an_order():
    """Each request lacks the sources of the requests before it."""
    keyed = json.dumps({**json.loads(MESSAGES), "prompt_cache_key": "key"}).encode()
    headers = [(b"X-Session-ID", b"1"), (b"X-Claude-Code-Session-Id", b"2")]
    later = [(name, b"%d" % rank) for rank, name in enumerate(session_headers.HEADERS_AFTER_USER_ID, 3)]
    rules = HeadRules(session_ranks=session_headers.ranks(["X-Chat"]))

    def session(body: bytes, *headers: tuple[bytes, bytes]) -> bytes:
        special = {b"x-forwarded-for": b"192.0.2.1"}
        headers = (*reversed(headers), (b"X-Chat", b"chat")) if headers else ((b"X-Chat", b""),)
        return parse(Request(RequestHead(b"POST", b"/v1/messages", headers, special, rules=rules), body)).session

    assert session(keyed, *headers, *later) == b"key"
    assert session(MESSAGES, *headers, *later) == b"1"
    assert session(MESSAGES, *headers[1:], *later) == b"2"
    assert session(MESSAGES, *later) == USER_ID.encode()
    for position, (_, value) in enumerate(later):
        assert session(CHAT, *later[position:]) == value
    assert session(CHAT, (b"X-Other", b"other")) == b"chat"
    assert session(CHAT) == b"192.0.2.1\n"


@pytest.mark.parametrize("metadata", [b"7", b"[]", b"null", b"{}", b'{"user_id": 7}', b'{"user_id": null}', b'"x"'])
def test_metadata_without_a_user_id_names_no_session(metadata: bytes):
    assert parse(request(b'{"model": "m", "metadata": %b}' % metadata, uri=b"/v1/messages")).session == b""


def test_metadata_of_openai_names_no_session():
    assert parse(request(MESSAGES)).session == b""


def test_a_key_that_is_no_text_names_no_session():
    for key in (b"7", b'""', b"null", b"{}"):
        body = b'{"prompt_cache_key": %b}' % key
        assert parse(request(body, (b"X-Session-ID", b"s"))).session == b"s"
        assert parse(request(body)).session == b""


def test_a_configured_header_that_is_not_passed_on_names_a_session():
    rules = HeadRules(session_ranks=session_headers.ranks(["Authorization"]))
    head = RequestHead(b"POST", b"/v1/messages", (), {b"authorization": b"Bearer k"}, rules=rules)
    assert head.session == b"Bearer k"


def test_a_client_that_names_no_session_is_known_by_its_first_address_and_its_agent():
    def session(forwarded: bytes, agent: bytes = b"ua") -> bytes:
        return parse(request(CHAT, (b"User-Agent", agent), x_forwarded_for=forwarded)).session

    own = session(b"192.0.2.1")
    assert own
    assert own == session(b"192.0.2.1, 198.51.100.1") == session(b" 192.0.2.1 ,198.51.100.2, 10.0.0.1")
    assert own not in (session(b"192.0.2.2, 198.51.100.1"), session(b"192.0.2.1", b"other"))
    assert session(b"") == session(b", 198.51.100.1") == b""
    assert parse(request(CHAT, (b"User-Agent", b"ua"))).session == b""


def test_a_name_of_a_session_in_any_encoding_of_json():
    """Bodies that only a lenient parser reads name their session as others do."""
    for body in (b'{"x": NaN, "metadata": {"user_id": "u"}}', '{"metadata": {"user_id": "u"}}'.encode("utf-16")):
        assert parse(request(body, uri=b"/v1/messages")).session == b"u"
