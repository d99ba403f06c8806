"""The Dockerfile as a test reads it: what its last stage leaves in the image's configuration."""

import json
import re
import shlex
from collections.abc import Iterator

from tests.e2e.sites import ROOT

PATH = ROOT / "ops" / "docker" / "Dockerfile"


def instructions() -> Iterator[tuple[str, str]]:
    """Each with its arguments on one line, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", PATH.read_text(), flags=re.M).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        yield name.upper(), " ".join(rest.split())


def last_stage() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, rest in instructions():
        found = [] if name == "FROM" else [*found, (name, rest)]
    return found


def told(instruction: str) -> str:
    """The last one of its name."""
    return [rest for name, rest in last_stage() if name == instruction][-1]


def command() -> list[str]:
    """What a container runs that is told nothing."""
    return [*json.loads(told("ENTRYPOINT")), *json.loads(told("CMD"))]


def health() -> list[str]:
    return json.loads(told("HEALTHCHECK").partition("CMD ")[2])


def environ() -> dict[str, str]:
    pairs = [word.partition("=") for name, rest in last_stage() if name == "ENV" for word in shlex.split(rest)]
    return {key: value for key, _, value in pairs}


def copied() -> list[str]:
    """What comes from the build context."""
    found = [rest.split() for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    return [source for words in found for source in words[:-1]]
