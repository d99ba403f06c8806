"""The configuration of the image, as the last stage of the Dockerfile sets it."""

import json
import re
import shlex
from collections.abc import Iterator

from tests.e2e.sites import ROOT

PATH = ROOT / "ops" / "docker" / "Dockerfile"


def instructions() -> Iterator[tuple[str, str]]:
    """Return the instructions of the last stage, each with its arguments on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", PATH.read_text(), flags=re.M).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        yield name.upper(), " ".join(rest.split())


def last_stage() -> list[tuple[str, str]]:
    stage: list[tuple[str, str]] = []
    for name, rest in instructions():
        stage = [] if name == "FROM" else [*stage, (name, rest)]
    return stage


def last_value(instruction: str) -> str:
    """Return the arguments of the last instruction of this name."""
    return [rest for name, rest in last_stage() if name == instruction][-1]


def command() -> list[str]:
    """Return the command of a container that is started without one."""
    return [*json.loads(last_value("ENTRYPOINT")), *json.loads(last_value("CMD"))]


def health() -> list[str]:
    return json.loads(last_value("HEALTHCHECK").partition("CMD ")[2])


def environ() -> dict[str, str]:
    pairs = [word.partition("=") for name, rest in last_stage() if name == "ENV" for word in shlex.split(rest)]
    return {key: value for key, _, value in pairs}


def copied() -> list[str]:
    """Return the paths that are copied from the build context."""
    copies = [rest.split() for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    return [source for arguments in copies for source in arguments[:-1]]
