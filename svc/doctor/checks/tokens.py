"""Files with tokens and passwords."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding

OTHERS = 0o007


def check(facts: Facts) -> Iterator[Finding]:
    for secret in facts.secrets:
        key, path = f"token.{secret.path}", secret.path
        make = f"umask 077 && head -c 32 /dev/urandom | base64 > {path}"
        if secret.missing:
            yield Finding(
                key,
                PROBLEM,
                f"{path}: no such file",
                f"{secret.use} names it",
                fix=make,
                first="copy it from the registry's machine; or, for a new token",
            )
        elif secret.trouble:
            yield Finding(
                key,
                PROBLEM,
                f"{path}: cannot be read: {secret.trouble}",
                f"{secret.use} names it",
                fix=f"sudo chown $(id -u) {path}",
            )
        elif secret.words != 1:
            why = f"{secret.use} names it, and it has {secret.words} words: a token is one"
            yield Finding(
                key,
                PROBLEM,
                f"{path}: {'is empty' if not secret.words else 'is no token'}",
                why,
                fix=make,
                first="copy it from the registry's machine; or, for a new token",
            )
        elif secret.mode & OTHERS:
            yield Finding(
                key,
                WARNING,
                f"{path}: everybody on this machine may read it",
                f"its mode is {secret.mode:04o}",
                fix=f"chmod o= {path}",
            )
