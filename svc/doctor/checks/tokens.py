"""Files with tokens, passwords and keys."""

from collections.abc import Iterator

from svc.base.secret_file import is_world_accessible
from svc.doctor.facts import API_KEYS, ENGINE_KEY, TOKEN, UPSTREAM_KEYS, Facts, Secret
from svc.doctor.findings import PROBLEM, WARNING, Finding

NOUNS = {TOKEN: "token", ENGINE_KEY: "key"}
WHENCE = {
    API_KEYS: "copy it from where the router ran before; or, for a new key",
    TOKEN: "copy it from the registry's machine; or, for a new token",
    ENGINE_KEY: "write the upstream API key (the engine's) into it; or, for a new key that the engine gets from it",
    UPSTREAM_KEYS: "write the instances' keys into it (docs/KEYS.md has an example), starting with",
}


def check(facts: Facts) -> Iterator[Finding]:
    for secret in facts.secrets:
        yield from _check(secret)


def _check(secret: Secret) -> Iterator[Finding]:
    key, path = f"token.{secret.path}", secret.path
    if secret.missing:
        yield Finding(
            key,
            PROBLEM,
            f"{path}: no such file",
            f"{secret.use} names it",
            fix=_make(secret),
            first=WHENCE[secret.kind],
        )
    elif secret.trouble:
        yield Finding(
            key,
            PROBLEM,
            f"{path}: cannot be read: {secret.trouble}",
            f"{secret.use} names it",
            fix=f"sudo chown $(id -u) {path}",
        )
    elif secret.wrong:
        why = "; ".join(problem.removeprefix(f"{path}: ") for problem in secret.wrong)
        yield Finding(
            key,
            PROBLEM,
            f"{path}: cannot be used",
            why,
            first="correct it; the router takes it up at once, see",
            fix="svc logs router",
        )
    elif secret.kind in NOUNS and secret.words != 1:
        noun = NOUNS[secret.kind]
        yield Finding(
            key,
            PROBLEM,
            f"{path}: {'is empty' if not secret.words else f'is no {noun}'}",
            f"{secret.use} names it, and it has {secret.words} words: a {noun} is one",
            fix=_make(secret),
            first=WHENCE[secret.kind],
        )
    elif is_world_accessible(secret.mode):
        yield Finding(
            f"mode.{path}",  # not a token's: it explains no refusal
            WARNING,
            f"{path}: readable by all users",
            f"its mode is {secret.mode:04o}",
            fix=f"chmod o= {path}",
        )


def _make(secret: Secret) -> str:
    """The command that makes a new file."""
    if secret.kind == API_KEYS:
        return f"svc keys add NAME --file {secret.path}"
    if secret.kind == UPSTREAM_KEYS:
        return f"umask 077 && echo '[instances]' > {secret.path}"
    return f"umask 077 && head -c 32 /dev/urandom | base64 > {secret.path}"
