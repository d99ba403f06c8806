"""The actor of an operator's action, from the client and its headers."""

import pytest

from svc.registry.access.actor import actor_of
from svc.registry.access.identity import identify

FAR, HERE = "10.0.0.9", "127.0.0.1"
BOB = {"x-operator-user": "bob"}
PAGE = {"x-forwarded-for": "10.0.0.5"}


@pytest.mark.parametrize(
    ("peer", "token", "headers", "name", "address"),
    [
        (HERE, "", BOB, "user:bob", HERE),
        (HERE, "fleet", BOB, "user:bob", HERE),
        (HERE, "alice", {}, "alice", HERE),
        (HERE, "", {}, "local", HERE),
        (FAR, "alice", BOB, "alice", FAR),
        (FAR, "operator", BOB, "operator", FAR),
        (FAR, "", BOB, f"unverified@{FAR}", FAR),
        (HERE, "alice", PAGE, "alice", f"10.0.0.5 via {HERE}"),
        (FAR, "alice", {"x-forwarded-for": "spoofed, 10.0.0.5"}, "alice", f"10.0.0.5 via {FAR}"),
        (FAR, "alice", {"x-forwarded-for": "<script>"}, "alice", f"proxy {FAR}"),
        (HERE, "alice", {**BOB, "via": "1.1 nginx"}, "alice", f"proxy {HERE}"),
        (HERE, "", {**BOB, **PAGE}, f"unverified@proxy-{HERE}", f"10.0.0.5 via {HERE}"),
    ],
)
def test_the_actor_is_a_token_or_the_user_on_this_machine(peer, token, headers, name, address):
    client = identify(peer, headers, operator=lambda authorization: token)
    actor = actor_of(client, headers, trusts_loopback=True)
    assert (actor.name, actor.address) == (name, address)


def test_where_loopback_may_be_a_proxy_only_a_token_names_the_actor():
    client = identify(HERE, BOB, operator=lambda authorization: "alice")
    assert actor_of(client, BOB, trusts_loopback=False).name == "alice"


def test_a_user_cannot_pass_for_another_actor():
    headers = {"x-operator-user": "bob@10.0.0.1 at\x1b" + "x" * 100}
    assert actor_of(identify(HERE, headers), headers, trusts_loopback=True).name == "user:" + (
        "bob_10.0.0.1_at_" + "x" * 48
    )
