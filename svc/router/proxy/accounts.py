"""The accounts other than API keys: users whom a front names, and addresses of clients."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

from svc.perimeter.hosts import unmapped
from svc.router.balance.account import Account
from svc.router.http.request import RequestHead
from svc.router.proxy.trusted_proxies import Networks, is_among

OPEN_WEBUI_USER_HEADER = "X-OpenWebUI-User-Id"  # sent if ENABLE_FORWARD_USER_INFO_HEADERS is set
MAX_USER_CHARACTERS = 128
IPV6_CLIENT_PREFIX = 64  # bits: one client may have all IPv6 addresses with the same prefix
MAX_REMEMBERED_ADDRESSES = 10_000


class AccountRules:
    """The settings that decide on accounts.

    `header_names`: the headers in which fronts may name a user; the first one in a request counts. `fronts`: the
    networks whose requests may name a user with any key, or without keys. `by_address`: without keys, a request that
    names no user counts for the address of its client.
    """

    def __init__(self, header_names: Iterable[str] = (), fronts: Networks = (), by_address: bool = False) -> None:
        self._headers = tuple(name.lower().encode() for name in (*header_names, OPEN_WEBUI_USER_HEADER))
        self.has_fronts = bool(fronts)
        self.needed_without_keys = by_address or self.has_fronts
        self._fronts = fronts
        self._by_address = by_address
        self._trusted: dict[str, bool] = {}  # address -> whether it is that of a front
        self._of_address: dict[str, Account] = {}

    def user(self, head: RequestHead, front: bool, client: str, peer: str) -> str:
        """Return the user whom a request names; empty if it names none, or may not name any.

        `front`: whether its key belongs to a front. `client`, `peer`: the addresses of the client and of the peer,
        which may be a proxy.
        """
        if front or (self.has_fronts and (self._is_front(client) or self._is_front(peer))):
            return next((user for name in self._headers if (user := user_in_header(head.header(name)))), "")
        return ""

    def without_key(self, head: RequestHead, client: str, peer: str) -> Account | None:
        """Return the account of a request in a router without keys; None if it counts for none."""
        if user := self.user(head, False, client, peer):
            return Account(f"/{user}", user=user)
        return self._address_account(client) if self._by_address else None

    def _is_front(self, address: str) -> bool:
        trusted = self._trusted.get(address)
        if trusted is None:
            if len(self._trusted) >= MAX_REMEMBERED_ADDRESSES:
                self._trusted.clear()
            trusted = self._trusted[address] = is_among(address, self._fronts)
        return trusted

    def _address_account(self, client: str) -> Account:
        account = self._of_address.get(client)
        if account is None:
            if len(self._of_address) >= MAX_REMEMBERED_ADDRESSES:
                self._of_address.clear()
            name = client_network(client)
            account = self._of_address[client] = Account(name, user=name)
        return account


def user_account(key: Account, user: str) -> Account:
    """Return the account of one user behind a key."""
    return Account(f"{key.name}/{user}", key.name, user, key.share, key.priority)


def user_in_header(value: bytes) -> str:
    """Return the user in a header as printable text, cut at MAX_USER_CHARACTERS."""
    text = value[: 4 * MAX_USER_CHARACTERS].decode("utf-8", "replace").strip()[:MAX_USER_CHARACTERS]
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def client_network(address: str) -> str:
    """Return the address of a client, or its network if that belongs to one client: in IPv6, a /64."""
    try:
        parsed = unmapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(ip_network((parsed, IPV6_CLIENT_PREFIX), strict=False))
    return str(parsed)
