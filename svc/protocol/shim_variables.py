"""Encode the environment variables of an instance, so that they pass through `svc launch` but do not affect it. Pure.

On a command line, every user could read the variables. Under their own names in the environment of `svc launch`, some
(PATH, LD_PRELOAD) would affect `svc launch` itself, and supervisord's environment= cannot hold every value. So the
variables have a prefix until `svc launch` executes the instance, and characters that are syntax for supervisord are
percent-encoded.
"""

import re
from collections.abc import Mapping

PREFIX = "SVC_ENV_"
SYNTAX = re.compile(r"[\"'\\%]")
ENCODED = re.compile(r"%([0-9A-F]{2})")


def encoded(key: str, value: str) -> tuple[str, str]:
    """Return the encoded name and value of a variable, for the environment of `svc launch`."""
    return PREFIX + key, SYNTAX.sub(lambda match: f"%{ord(match[0]):02X}", value)


def decoded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the instance, decoded from the environment of `svc launch`."""
    plain = {key: value for key, value in environ.items() if not key.startswith(PREFIX)}
    return plain | {
        key.removeprefix(PREFIX): ENCODED.sub(lambda match: chr(int(match[1], 16)), value)
        for key, value in environ.items()
        if key.startswith(PREFIX)
    }
