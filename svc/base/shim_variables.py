"""Encode the environment variables of an instance so that `svc launch` passes them on without being affected. Pure.

Every user could read them on a command line. In the environment of `svc launch`, some would affect itself (PATH,
LD_PRELOAD), and supervisord's environment= cannot hold every value. So they have a prefix until `svc launch` becomes
the instance, and characters that are syntax to supervisord are percent-encoded.
"""

import re
from collections.abc import Mapping

PREFIX = "SVC_ENV_"
SYNTAX = re.compile(r"[\"'\\%]")
ENCODED = re.compile(r"%([0-9A-F]{2})")


def encoded(key: str, value: str) -> tuple[str, str]:
    """Return the name and the value of the variable as `svc launch` gets it."""
    return PREFIX + key, SYNTAX.sub(lambda match: f"%{ord(match[0]):02X}", value)


def decoded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the instance."""
    plain = {key: value for key, value in environ.items() if not key.startswith(PREFIX)}
    return plain | {
        key.removeprefix(PREFIX): ENCODED.sub(lambda match: chr(int(match[1], 16)), value)
        for key, value in environ.items()
        if key.startswith(PREFIX)
    }
