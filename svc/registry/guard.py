"""Who may read and who may write."""

import hmac
import ipaddress
from pathlib import Path

from svc.errors import ConfigError, Unauthorized
from svc.secret_file import SecretFile

OPEN, READ, TELL, WRITE = "open", "read", "telling", "write"
NO_TOKEN = (
    "this registry takes writes from its own machine only; to let others write, give it a token (--token-file, "
    "REGISTRY_TOKEN_FILE, or token_file under [registry] in config/svc.toml), or start it with --insecure"
)
LOOPBACK_TOO = (
    "; that holds for this machine too (loopback_needs_token): name the file with token_file in the TOML of each "
    "babysitter, with registry_token_file for the router, and with --token-file for commands"
)
WRONG = "a {} from another machine needs the registry's {}token: send the header Authorization: Bearer TOKEN"
READ_TOKEN = "that is the read token; a write needs the write token (token_file)"

TokenFile = SecretFile[bytes]


def token_file(path: str, setting: str = "token_file") -> TokenFile:
    """Return the file of a token. While it is empty or gone nobody is admitted by it: removing it revokes the token."""
    return SecretFile(Path(path), parse_token, setting, b"", keep_last=False)


def parse_token(data: bytes, path: Path) -> bytes:
    """Return the token that `data`, the bytes of `path`, holds; raises ConfigError where there is none."""
    if token := data.strip():
        return token
    raise ConfigError(f"{path}: the token file is empty; write the token into it")


def _matches(file: TokenFile, offered: bytes) -> bool:
    """Compare in constant time."""
    file.refresh()
    return bool(file.value) and hmac.compare_digest(file.value, offered)


class Guard:
    """Loopback may do all, unless it needs a token.

    Others need the write token for a write, one of the two tokens to tell what happened, and where there is a read
    token, one of the two to read.
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

    def admit(self, access: str, peer: str | None, forwarded: bool, authorization: str) -> None:
        """Raises Unauthorized. `forwarded`: a proxy passed it on, so its peer says nothing of where it comes from.

        1. The open, and this machine, unless it needs a token, too.
        2. Reads, as long as there is no read token.
        3. Writes, when --insecure was said on purpose.
        4. Whoever shows a token that covers it.
        """
        if access == OPEN or (is_near(peer, forwarded) and not self.loopback_needs_token):
            return  # 1
        if (access == READ and self.read is None) or (access in (TELL, WRITE) and self.insecure):
            return  # 2, 3
        keys = [k for k in ((self.token,) if access == WRITE else (self.token, self.read)) if k is not None]
        offered = _bearer(authorization)
        if any(_matches(key, offered) for key in keys):
            return  # 4
        if keys and access == WRITE and self.read is not None and _matches(self.read, offered):
            raise Unauthorized(READ_TOKEN)
        cure = LOOPBACK_TOO if self.loopback_needs_token else ""
        raise Unauthorized(WRONG.format(access, "read " if access == READ else "") + cure if keys else NO_TOKEN)

    def is_operator(self, authorization: str) -> bool:
        """Whether the write token is shown."""
        return self.token is not None and _matches(self.token, _bearer(authorization))


def is_near(peer: str | None, forwarded: bool) -> bool:
    """Whether it comes from this machine."""
    return _is_loopback(peer) and not forwarded


def _bearer(header: str) -> bytes:
    scheme, _, token = header.partition(" ")
    return token.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
