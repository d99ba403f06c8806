"""Identify the client of a request and decide whether the registry admits the request."""

from svc.perimeter.browsers import BrowserRules, Headers, SettingNames
from svc.perimeter.hosts import Hosts
from svc.registry.access.guard import Guard
from svc.registry.access.identity import Client, identify

SETTING_NAMES = SettingNames("allowed_hosts (--allowed-hosts, or under [registry] in config/svc.toml)")


class Admission:
    """Applies the rules for Host and Origin (`hosts`), then those for address and token (`guard`)."""

    def __init__(self, guard: Guard, hosts: Hosts) -> None:
        self._guard = guard
        self._browsers = BrowserRules(hosts, SETTING_NAMES)

    def identify(self, peer: str | None, headers: Headers) -> Client:
        """Return the client that sent a request with these headers from the address `peer`."""
        return identify(peer, headers, self._browsers.hosts.knows, self._guard.is_operator)

    def check(self, access: str, method: str, client: Client, headers: Headers) -> None:
        """Raise SvcError unless the client may send a request with this method to an endpoint with this access."""
        self._browsers.check(method, headers)
        self._guard.admit(access, client, headers.get("authorization") or "")
