"""Decide whether the registry admits a request, from Host and Origin, and from the client's address and token."""

import hmac
from pathlib import Path

from svc.base.errors import Unauthorized
from svc.base.secret_file import SecretFile
from svc.base.token_file import NamedToken, parse_tokens
from svc.perimeter.browsers import BrowserRules, Headers, SettingNames
from svc.perimeter.hosts import Hosts
from svc.registry.access.identity import Client, identify

SETTING_NAMES = SettingNames("allowed_hosts (--allowed-hosts, or under [registry] in config/svc.toml)")
OPEN, READ, REPORT, WRITE = "open", "read", "report", "write"
NO_TOKEN = (
    "this registry takes writes from its own machine only; to let others write, give it a token (--token-file, "
    "REGISTRY_TOKEN_FILE, or token_file under [registry] in config/svc.toml), or start it with --insecure"
)
NEEDS_TOKEN = "a {} from another machine needs the registry's {}: send the header Authorization: Bearer TOKEN"
LOOPBACK_NEEDS_TOKEN = (
    "a {} from this machine needs the registry's {}, because loopback_needs_token is set: name the token's file with "
    "token_file in the TOML of each babysitter, with registry_token_file for the router, and with --token-file for "
    "commands"
)
READ_TOKEN = "that is the read token; a write needs the write token (token_file)"

Tokens = tuple[NamedToken, ...]
TokenFile = SecretFile[Tokens]


def token_file(path: str, setting: str = "token_file") -> TokenFile:
    """Return the token file at `path`; error messages show `setting`, the name of the setting that holds the path.

    If the file is removed or emptied, its tokens are revoked.
    """
    return SecretFile(Path(path), parse_tokens, setting, (), keep_last=False)


def _holder(file: TokenFile, offered: bytes) -> str:
    """Return the name of the offered token in the file; "" if the file does not contain it.

    Every token is compared, each in constant time, so that an attacker learns nothing from the time that this takes.
    """
    file.refresh()
    holder = ""
    for name, token in file.value:
        if hmac.compare_digest(token, offered):
            holder = name
    return holder


class Guard:
    """Decides from the client's address and token whether a request is admitted.

    Without loopback_needs_token, a client on this machine may do everything. Other clients need the write token to
    write, and the read token or the write token to report events. To read, they need one of the two tokens if a read
    token is set; otherwise any client may read.
    """

    def __init__(
        self,
        token: TokenFile | None = None,
        read: TokenFile | None = None,
        insecure: bool = False,
        loopback_needs_token: bool = False,
    ) -> None:
        self.token = token
        self.read = read
        self.insecure = insecure
        self.loopback_needs_token = loopback_needs_token

    def admit(self, access: str, client: Client, authorization: str) -> None:
        """Raise Unauthorized unless one of these holds.

        1. The endpoint is open, or the client is on this machine and loopback_needs_token is not set.
        2. The request only reads, and there is no read token.
        3. The request reports events or writes, and --insecure is set.
        4. The client sends a token that is valid for this access.
        """
        if access == OPEN or (client.is_local and not self.loopback_needs_token):
            return  # rule 1
        if (access == READ and self.read is None) or (access in (REPORT, WRITE) and self.insecure):
            return  # rules 2 and 3
        if client.is_operator or (access != WRITE and self._is_reader(authorization)):
            return  # rule 4
        if self.token is None and (access == WRITE or self.read is None):
            raise Unauthorized(NO_TOKEN)
        if access == WRITE and self._is_reader(authorization):
            raise Unauthorized(READ_TOKEN)
        message = LOOPBACK_NEEDS_TOKEN if client.is_local else NEEDS_TOKEN
        raise Unauthorized(message.format(access, "read token" if access == READ else "token"))

    def operator(self, authorization: str) -> str:
        """Return the name of the write token in an Authorization header; "" if it contains none."""
        return _holder(self.token, _bearer(authorization)) if self.token is not None and authorization else ""

    def _is_reader(self, authorization: str) -> bool:
        return self.read is not None and bool(_holder(self.read, _bearer(authorization)))


class Admission:
    """Applies the rules for Host and Origin (`hosts`), then the rules for address and token (`guard`)."""

    def __init__(self, guard: Guard, hosts: Hosts) -> None:
        self._guard = guard
        self._browsers = BrowserRules(hosts, SETTING_NAMES)

    def identify(self, peer: str | None, headers: Headers) -> Client:
        """Return the client that sent a request with these headers from the address `peer`."""
        return identify(peer, headers, self._browsers.hosts.knows, self._guard.operator)

    def check(self, access: str, method: str, client: Client, headers: Headers) -> None:
        """Raise SvcError if the client may not send a request with this method to an endpoint with this access."""
        self._browsers.check(method, headers)
        self._guard.admit(access, client, headers.get("authorization") or "")


def _bearer(header: str) -> bytes:
    scheme, _, token = header.partition(" ")
    return token.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
