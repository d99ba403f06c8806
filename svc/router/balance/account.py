"""The account that a request counts for: an API key, a user behind a key, or a client's address. Pure."""

import msgspec


class Account(msgspec.Struct, frozen=True, gc=False):
    """An account, with its share of the instances and its priority.

    `name` identifies the account: the name of a key ("ci"), a key and one of its users ("ci/alice"), or, in a router
    without keys, a user ("/alice") or the address of a client ("10.0.0.7"). Clients may invent any number of users and
    addresses. An account may be a new object at each request, and share and priority may change from one to the next.
    """

    name: str
    key: str = ""  # the name of the API key; empty without keys
    user: str = ""  # the user whom a trusted front names, or the client's address; empty: the key itself
    share: float = 1.0  # the account's weight when requests wait for an instance
    priority: int = 0  # priority of the account's waiting requests; higher goes first
