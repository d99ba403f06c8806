"""Choose the directory for temporary files, because the usual ones may be read-only, as in a read-only container."""

import os
import tempfile
from pathlib import Path

from svc.base.errors import CommandError


def ensure_directory(fallback: Path) -> None:
    """Make `fallback` the directory for temporary files if none of the usual ones is writable.

    This process, its libraries (supervisor, gunicorn) and the processes that it starts then use `fallback`. Raise
    CommandError if `fallback` is not writable either.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if not os.access(fallback, os.W_OK | os.X_OK):
            raise CommandError(
                f"no directory for temporary files is writable: neither /tmp nor {fallback}; set TMPDIR to one that is"
            ) from None
        tempfile.tempdir = os.environ["TMPDIR"] = str(fallback.absolute())
