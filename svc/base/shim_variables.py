"""Encode an instance's variables so that `svc launch` hands them on without acting on them. Pure.

On a command line every user could read them. In its own environment `svc launch` would act on some (PATH, LD_PRELOAD),
and supervisord's environment= cannot hold every value. So they have a prefix until `svc launch` becomes the instance,
and what supervisord would take for syntax is percent-encoded.
"""

import re
from collections.abc import Mapping

PREFIX = "SVC_ENV_"
SYNTAX = re.compile(r"[\"'\\%]")
ENCODED = re.compile(r"%([0-9A-F]{2})")


def encoded(key: str, value: str) -> tuple[str, str]:
    """Return the variable as it passes the shim."""
    return PREFIX + key, SYNTAX.sub(lambda found: f"%{ord(found[0]):02X}", value)


def decoded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment as the instance sees it."""
    plain = {key: value for key, value in environ.items() if not key.startswith(PREFIX)}
    return plain | {
        key.removeprefix(PREFIX): ENCODED.sub(lambda found: chr(int(found[1], 16)), value)
        for key, value in environ.items()
        if key.startswith(PREFIX)
    }
