"""The word by which a registry knows this babysitter again: who registered a name keeps it."""

import contextlib
import logging
import re
import secrets
from pathlib import Path

from svc.base import private_files

log = logging.getLogger(__name__)
SOCKET = "unix://"
SOUND = re.compile(r"[!-~]{16,256}")  # long enough, and fit for a header


def state_dir(server_url: str) -> Path:
    """The var/ that holds the socket of the supervisord that runs us; alone, the one in the working directory."""
    directory = Path(server_url.removeprefix(SOCKET)).parent
    return directory if server_url.startswith(SOCKET) and directory.name == "var" else Path("var")


def keep(path: Path) -> str:
    """The secret in the file, made once. Where it cannot be kept, one for this life of the babysitter."""
    try:
        with contextlib.suppress(FileNotFoundError):
            private_files.tighten(path, private_files.OWNER_ONLY)
            secret = path.read_text(encoding="ascii", errors="replace").strip()
            if SOUND.fullmatch(secret):
                return secret
        secret = secrets.token_urlsafe(32)
        private_files.make_directory(path.parent)
        private_files.write(path, f"{secret}\n".encode(), private_files.OWNER_ONLY)
    except OSError as error:
        log.warning(
            "%s: cannot keep the secret: %s; after a crash the registry takes our names for another's until their "
            "leases end; make %s ours to write",
            path,
            error.strerror,
            path.parent,
        )
        return secrets.token_urlsafe(32)
    return secret
