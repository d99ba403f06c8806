import datetime
from pathlib import Path

import pytest

from svc.base.errors import LoopDetected, NotFound, RateLimited, SvcError, Unauthorized
from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from svc.router.balance.account import Account
from svc.router.http.allowed_paths import AllowedPaths
from svc.router.http.request import DEFAULT_RULES, HeadRules, Request, RequestHead
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.authorization import authorize
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.forward import close_unanswered
from svc.router.state import RouterState
from tests.unit.router.examples import state

CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture
def keyed(tmp_path: Path) -> RouterState:
    """Its keys are `client`, for one request at once, and `operator`; each is its own secret."""
    file = tmp_path / "keys.toml"
    entries = {
        "client": KeyEntry(router_keys.digest("client"), CREATED, concurrency=1),
        "operator": KeyEntry(router_keys.digest("operator"), CREATED, operator=True),
    }
    file.write_text(router_keys.render(entries))
    router = state()
    router.keys = ApiKeys(file)
    router.keys.load()
    return router


def exchange(
    router: RouterState, key: str = "", line: str = "POST /v1/messages", rules: HeadRules = DEFAULT_RULES, via: str = ""
):
    method, uri = line.encode("latin-1").split(b" ")
    special = {b"x-api-key": key.encode(), b"via": via.encode()}
    return Exchange(router, Request(RequestHead(method, uri, (), special, rules=rules), b""), "")


def refusal(refused: Exchange) -> SvcError:
    with pytest.raises(SvcError) as raised:
        authorize(refused, b"127.0.0.1")
    assert refused.limits is None
    return raised.value


def account(router: RouterState, key: str, user: bytes = b"", client: str = "10.0.0.7") -> Account | None:
    headers = [(b"X-OpenWebUI-User-Id", user)] if user else []
    head = RequestHead(b"POST", b"/v1/messages", headers, {b"x-api-key": key.encode()})
    admitted = Exchange(router, Request(head, b""), client)
    authorize(admitted, client.encode())
    admitted.close()
    return admitted.account


def test_a_request_counts_for_its_key_or_for_the_user_whom_a_fronts_key_names(keyed: RouterState):
    entry = KeyEntry(router_keys.digest("web"), CREATED, share=2.0, priority=1, front=True)
    keyed.keys.replace({"web": entry, **keyed.keys.entries})
    assert account(keyed, "client", b"alice") == Account("client", "client")
    assert account(keyed, "web") == Account("web", "web", "", 2.0, 1)
    assert account(keyed, "web", b"alice") == Account("web/alice", "web", "alice", 2.0, 1)


def test_without_keys_a_request_counts_for_its_address_only_if_that_is_set():
    assert account(state(), "") is None
    assert account(state(fair="address"), "") == Account("10.0.0.7", user="10.0.0.7")
    assert account(state(trusted_fronts="10.0.0.0/8"), "", b"alice") == Account("/alice", user="alice")


def test_a_refused_request_counts_for_its_key_too(keyed: RouterState):
    authorize(exchange(keyed, "client"), b"127.0.0.1")
    refused = exchange(keyed, "client")
    assert isinstance(refusal(refused), RateLimited)
    assert refused.account == Account("client", "client")


def test_a_closed_path_is_404_with_the_setting_that_opens_it():
    error = refusal(exchange(state(), line="POST /sleep?level=2"))
    assert isinstance(error, NotFound)
    assert error.message.startswith("POST /sleep ")
    assert "allow_paths under [router] in config/svc.toml" in error.message
    assert "level" not in error.message
    assert len(refusal(exchange(state(), line="GET /" + "x" * 5000)).message) < 500


def test_an_operators_key_is_advised_only_where_there_are_keys(keyed: RouterState):
    assert "operator" in refusal(exchange(keyed, "client", "POST /sleep")).message
    assert "operator" not in refusal(exchange(state(), line="POST /sleep")).message
    assert "operator" not in refusal(exchange(state(), line="POST //sleep")).message


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("POST //v1/chat/completions", "POST /v1/chat/completions"),
        ("POST /v1/chat/completions/?a=b", "POST /v1/chat/completions"),
        ("GET /v1/chat/completions", "POST /v1/chat/completions"),
        ("GET //v1/models", "GET /v1/models"),
        ("GET //v1//files", "GET /v1/files"),
        ("GET //v1/models/\xff", "GET /v1/models/\xff"),
    ],
)
def test_a_path_that_is_nearly_open_is_suggested(line: str, meant: str):
    rules = HeadRules(AllowedPaths(["/v1/files"]))
    error = refusal(exchange(state(), line=line, rules=rules))
    assert error.message.endswith(f"did you mean {meant}?")


def test_no_setting_is_advised_for_a_path_that_none_can_open():
    for line in ("POST //sleep", "POST /v1/../sleep", "POST /a%2fb"):
        message = refusal(exchange(state(), line=line)).message
        assert "allow_paths" not in message
        assert "dot segment" in message


def test_without_a_key_open_and_closed_paths_look_alike(keyed: RouterState):
    for line in ("POST /v1/messages", "POST /sleep"):
        assert isinstance(refusal(exchange(keyed, "wrong", line)), Unauthorized)


def test_options_need_no_key(keyed: RouterState):
    assert isinstance(refusal(exchange(keyed, "", "OPTIONS /v1/messages")), NotFound)
    assert isinstance(refusal(exchange(keyed, "wrong", "OPTIONS /v1/messages")), Unauthorized)


def test_an_operators_key_passes_any_path(keyed: RouterState):
    authorize(exchange(keyed, "operator", "POST //sleep"), b"127.0.0.1")
    assert isinstance(refusal(exchange(keyed, "client", "POST //sleep")), NotFound)


def test_what_passes_counts_for_its_key_until_it_is_closed(keyed: RouterState):
    first = exchange(keyed, "client")
    authorize(first, b"127.0.0.1")
    assert first.key_name == "client"
    refused = exchange(keyed, "client")
    assert isinstance(refusal(refused), RateLimited)
    close_unanswered(refused, RateLimited("x"))
    first.close()
    first.close()
    authorize(exchange(keyed, "client"), b"127.0.0.1")


def test_a_closed_path_costs_no_request_of_a_limit(keyed: RouterState):
    refusal(exchange(keyed, "client", "POST /sleep"))
    authorize(exchange(keyed, "client"), b"127.0.0.1")


def test_a_request_that_this_router_has_sent_is_508():
    rules = HeadRules(pseudonym=b"svc-router-1")
    assert isinstance(refusal(exchange(state(), rules=rules, via="1.1 a, 1.1 svc-router-1,1.0 b")), LoopDetected)
    for via in ("", "1.1 svc-router-12", "1.1 svc-router-2, 1.1 b"):
        authorize(exchange(state(), rules=rules, via=via), b"127.0.0.1")
