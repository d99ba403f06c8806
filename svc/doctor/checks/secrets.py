"""Checks the files of tokens, passwords and keys, and finds secrets in command lines, which every user can read."""

import shlex
from collections.abc import Iterator

from svc.base.mask import secret_names, without_secrets
from svc.base.secret_file import is_world_accessible
from svc.config.instance.model import InstanceConfig
from svc.doctor.facts import API_KEYS, ENGINE_KEY, TOKEN, UPSTREAM_KEYS, Facts, SecretFileFacts
from svc.doctor.findings import PROBLEM, WARNING, Finding

NOUNS = {TOKEN: "token", ENGINE_KEY: "key"}
SOURCES = {
    API_KEYS: "copy it from where the router ran before; or, for a new key",
    TOKEN: "copy it from the registry's machine; or, for a new token",
    ENGINE_KEY: "write the upstream API key (the engine's) into it; or, for a new key that the engine gets from it",
    UPSTREAM_KEYS: "write the instances' keys into it (docs/KEYS.md has an example), starting with",
}


def check_files(facts: Facts) -> Iterator[Finding]:
    for secret in facts.secrets:
        yield from _check_file(facts, secret)


def _check_file(facts: Facts, secret: SecretFileFacts) -> Iterator[Finding]:
    key, path = f"token.{secret.path}", secret.path
    if secret.missing:
        yield Finding(
            key,
            PROBLEM,
            f"{path}: no such file",
            f"{secret.setting} names it",
            fix=_make_command(secret),
            first_step=SOURCES[secret.kind],
        )
    elif secret.problem and facts.other_owner:
        yield Finding(
            key,
            WARNING,
            f"{path}: this user cannot read it: {secret.problem}",
            f"{secret.setting} names it; the site's owner, {facts.other_owner}, must be able to",
            fix=f"sudo -u {facts.other_owner} svc doctor",
            causes=("supervisord.denied",),
        )
    elif secret.problem:
        yield Finding(
            key,
            PROBLEM,
            f"{path}: cannot be read: {secret.problem}",
            f"{secret.setting} names it",
            fix=_open_command(secret, facts.sudo),
            causes=("supervisord.denied",),
        )
    elif secret.errors:
        evidence = "; ".join(problem.removeprefix(f"{path}: ") for problem in secret.errors)
        yield Finding(
            key,
            PROBLEM,
            f"{path}: cannot be used",
            evidence,
            first_step="correct it; every program reads it again with its next request; then"
            if secret.kind == TOKEN
            else "correct it; the router takes it up at once, see",
            fix="svc doctor" if secret.kind == TOKEN else "svc logs router",
        )
    elif secret.kind in NOUNS and secret.word_count != 1:
        noun = NOUNS[secret.kind]
        yield Finding(
            key,
            PROBLEM,
            f"{path}: {'is empty' if not secret.word_count else f'is no {noun}'}",
            f"{secret.setting} names it, and it has {secret.word_count} words: a {noun} is one",
            fix=_new_word_command(shlex.quote(path)),
            first_step=SOURCES[secret.kind],
        )
    elif is_world_accessible(secret.mode) and (secret.reader_gid is None or not facts.files.in_foreground):
        # There is no finding for a file that the host mounts into a container and that programs can read only because
        # all users can.
        yield Finding(
            f"mode.{path}",  # not token.PATH, which is a cause of refused tokens: the mode does not cause them
            WARNING,
            f"{path}: readable by all users",
            f"its mode is {secret.mode:04o}",
            fix=_close_command(secret, facts.sudo),
        )


def _open_command(secret: SecretFileFacts, sudo: str) -> str:
    """Return the command that lets this user read a file. All its present readers can still read it afterwards.

    If root owns the file, this user becomes the owner, because root can read it anyway. Any other owner stays, because
    a program of that user may read the file.
    """
    path = shlex.quote(secret.path)
    if secret.closed_directory:
        return f"{sudo}chmod o+x {shlex.quote(secret.closed_directory)}"
    if secret.owner_uid == 0:
        return f"{sudo}chown $(id -u) {path}"
    return f"{sudo}chgrp $(id -g) {path} && {sudo}chmod g+r {path}"


def _close_command(secret: SecretFileFacts, sudo: str) -> str:
    """Return the command after which only the owner, the group and the site's programs can read a file."""
    path = shlex.quote(secret.path)
    if secret.reader_gid is None:
        return f"chmod o= {path}"
    return f"{sudo}chgrp {secret.reader_gid} {path} && {sudo}chmod g=r,o= {path}"


def _make_command(secret: SecretFileFacts) -> str:
    """Return the command that creates a new file with a secret."""
    path = shlex.quote(secret.path)
    if secret.kind == API_KEYS:
        return f"svc keys add NAME --file {path}"
    if secret.kind == UPSTREAM_KEYS:
        return f"echo '[instances]' | install -D -m 600 /dev/stdin {path}"
    return _new_word_command(path)


def _new_word_command(path: str) -> str:
    return f"head -c 32 /dev/urandom | base64 | install -D -m 600 /dev/stdin {path}"


def check_command_lines(facts: Facts) -> Iterator[Finding]:
    for name, config in facts.configs.items():
        command = " ".join(config.argv)
        if without_secrets(command) != command:
            yield _command_line_finding(name, config, secret_names(command))


def _command_line_finding(name: str, config: InstanceConfig, secrets: list[str]) -> Finding:
    subject = f"a secret ({', '.join(secrets)})" if secrets else "a secret"
    return Finding(
        f"command_line.{name}",
        WARNING,
        f"{config.source}: the instance's command line holds {subject}",
        "every user of this machine reads it in the output of ps; it stands in conf.d/ too",
        first_step="write an API key into a file that [backend] api_key_file names, "
        "or another secret into [backend] env;",
        fix="svc up",
    )
