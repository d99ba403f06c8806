"""Who may read and who may write."""

import hmac
import logging
import threading
from pathlib import Path

from svc.errors import SvcError, Unauthorized
from svc.registry.identity import Client

log = logging.getLogger(__name__)
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


class TokenFile:
    """The token in a file, read again when the file changes."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._read: tuple[object, bytes] = (None, b"")
        self._lock = threading.Lock()

    def matches(self, offered: bytes) -> bool:
        """In constant time. A file that is empty or cannot be read matches nothing."""
        try:
            token = self.token()
        except SvcError as error:
            log.error("%s", error.message)
            return False
        return hmac.compare_digest(token, offered)

    def token(self) -> bytes:
        """Raises SvcError for a file without a token."""
        try:
            with self._lock:
                stat = self.path.stat()
                version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                if self._read[0] != version:
                    self._read = (version, self.path.read_bytes().strip())
                token = self._read[1]
        except OSError as error:
            raise SvcError(f"{self.path}: cannot read the registry's token: {error.strerror}") from None
        if not token:
            raise SvcError(f"{self.path}: the token file is empty; write the token into it")
        return token


class Guard:
    """Loopback may do everything, unless it needs a token.

    Other clients need the write token for a write, one of the two tokens to report events, and where there is a read
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

    def admit(self, access: str, client: Client, authorization: str) -> None:
        """Raise Unauthorized unless one of these holds.

        1. The endpoint is open, or the client is on this machine, which needs no token.
        2. It is a read, and there is no read token.
        3. It is a report or a write, and --insecure is set.
        4. The client shows a token that covers the access.
        """
        if access == OPEN or (client.is_local and not self.loopback_needs_token):
            return  # 1
        if (access == READ and self.read is None) or (access in (REPORT, WRITE) and self.insecure):
            return  # 2, 3
        if client.is_operator or (access != WRITE and self._is_reader(authorization)):
            return  # 4
        if self.token is None and (access == WRITE or self.read is None):
            raise Unauthorized(NO_TOKEN)
        message = LOOPBACK_NEEDS_TOKEN if client.is_local else NEEDS_TOKEN
        raise Unauthorized(message.format(access, "read token" if access == READ else "token"))

    def is_operator(self, authorization: str) -> bool:
        """Return whether an Authorization header has the write token."""
        return self.token is not None and bool(authorization) and self.token.matches(_bearer(authorization))

    def _is_reader(self, authorization: str) -> bool:
        return self.read is not None and self.read.matches(_bearer(authorization))


def _bearer(header: str) -> bytes:
    scheme, _, token = header.partition(" ")
    return token.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
