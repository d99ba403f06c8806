"""Who a request counts for: whose word on users is taken, and what a client's address is."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.account import Account
from svc.router.http.request import RequestHead
from svc.router.proxy.accounts import MAX_USER_CHARACTERS, AccountRules, client_network, user_account, user_in_header

FRONTS = (ip_network("10.1.0.0/16"),)
HEADERS = [(b"X-OpenWebUI-User-Id", b"alice"), (b"X-User", b"bob")]


def head(*headers: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(b"POST", b"/v1/chat/completions", headers, {})


@pytest.mark.parametrize(
    ("front", "client", "peer", "user"),
    [
        (True, "192.168.0.1", "192.168.0.1", "alice"),
        (False, "10.1.2.3", "10.1.2.3", "alice"),
        (False, "10.1.2.3", "127.0.0.1", "alice"),  # the front is behind a trusted proxy
        (False, "192.168.0.1", "10.1.2.3", "alice"),  # the front is a trusted proxy itself
        (False, "192.168.0.1", "127.0.0.1", ""),
    ],
)
def test_only_a_front_may_name_users(front, client, peer, user):
    assert AccountRules(fronts=FRONTS).user(head(*HEADERS), front, client, peer) == user


def test_a_configured_header_comes_before_open_webuis():
    rules = AccountRules(["X-User"])
    assert rules.user(head(*HEADERS), True, "", "") == "bob"
    assert rules.user(head(HEADERS[0]), True, "", "") == "alice"
    assert rules.user(head((b"X-User", b" ")), True, "", "") == ""


def test_without_a_key_a_user_counts_if_a_front_names_it_and_else_the_address():
    rules = AccountRules(fronts=FRONTS, by_address=True)
    assert rules.without_key(head(*HEADERS), "10.1.2.3", "10.1.2.3") == Account("/alice", user="alice")
    assert rules.without_key(head(*HEADERS), "10.2.2.3", "10.2.2.3") == Account("10.2.2.3", user="10.2.2.3")
    assert AccountRules(fronts=FRONTS).without_key(head(), "10.1.2.3", "10.1.2.3") is None
    assert not AccountRules().needed_without_keys


def test_the_account_of_a_user_has_the_share_and_priority_of_its_key():
    assert user_account(Account("web", "web", "", 2.0, 3), "alice") == Account("web/alice", "web", "alice", 2.0, 3)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("nonsense", "nonsense"),
    ],
)
def test_all_addresses_of_an_ipv6_client_are_one(address, network):
    assert client_network(address) == network


@given(st.binary(max_size=2000))
def test_a_user_is_short_printable_text_whatever_a_front_sends(value):
    user = user_in_header(value)
    assert user.isprintable()
    assert len(user) <= MAX_USER_CHARACTERS
    user.encode()
