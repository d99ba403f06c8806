"""The upstream API key, which an engine requires from its callers (vllm --api-key): its format and its header.

Error messages never show an invalid key, because it may be a valid key of another service.
"""

import re
from pathlib import Path

from svc.base.errors import ConfigError

KEY = re.compile(r"[!-~]{1,4096}")  # visible ASCII characters, which a header can hold


def check_key(value: object) -> str:
    """Return the value if it is a key that a header can hold; else raise ValueError."""
    if not isinstance(value, str) or not KEY.fullmatch(value):
        raise ValueError("must be one key of printable ASCII without blanks; write it in quotes")
    return value


def parse_key(data: bytes, path: Path) -> str:
    """Return the key in `data`, the content of the file `path`; raise ConfigError unless there is exactly one."""
    keys = data.decode("utf-8-sig", "replace").split()
    if not keys:
        raise ConfigError(f"{path}: is empty; write the engine's API key into it")
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        raise ConfigError(
            f"{path}: must hold one API key of printable ASCII, without blanks, and nothing else; correct the file"
        )
    return keys[0]


def bearer(key: str) -> dict[str, str]:
    """Return a dict with the Authorization header for the key; an empty dict for an empty key."""
    return {"Authorization": f"Bearer {key}"} if key else {}
