"""The upstream API key, which an engine wants of its callers (vllm --api-key): its form, and how it is sent.

No message shows a key: it may be the right one, misplaced.
"""

import re
from pathlib import Path

from svc.base.errors import ConfigError

KEY = re.compile(r"[!-~]{1,4096}")  # visible ASCII: fit for a header


def check_key(value: object) -> str:
    """Return the key; raises ValueError for what cannot be sent in a header."""
    if not isinstance(value, str) or not KEY.fullmatch(value):
        raise ValueError("must be one key of printable ASCII without blanks; write it in quotes")
    return value


def parse_key(data: bytes, path: Path) -> str:
    """Return the one key that `data`, the bytes of `path`, holds; raises ConfigError."""
    keys = data.decode("utf-8-sig", "replace").split()
    if not keys:
        raise ConfigError(f"{path}: is empty; write the engine's API key into it")
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        raise ConfigError(
            f"{path}: must hold one API key of printable ASCII, without blanks, and nothing else; correct the file"
        )
    return keys[0]


def bearer(key: str) -> dict[str, str]:
    """Return the headers that carry a key; none without one."""
    return {"Authorization": f"Bearer {key}"} if key else {}
