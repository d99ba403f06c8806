"""The word by which a registry knows this babysitter again: who registered a name keeps it."""

import contextlib
import logging
import os
import re
import secrets
import tempfile
from pathlib import Path

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
            secret = path.read_text(encoding="ascii", errors="replace").strip()
            if SOUND.fullmatch(secret):
                return secret
        secret = secrets.token_urlsafe(32)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, secret)
    except OSError as error:
        log.warning(
            "%s: cannot keep the secret: %s; after a crash the registry takes our names for another's until their "
            "leases end; make %s ours to write", path, error.strerror, path.parent,
        )  # fmt: skip
        return secrets.token_urlsafe(32)
    return secret


def _write(path: Path, secret: str) -> None:
    """Whole or not at all, and for its owner alone."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
