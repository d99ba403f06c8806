"""The examples of docs/CLIENTS.md: read the section of a client, and run what stands there as a reader would."""

import os
import re
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.environments import Environment
from tests.documents.blocks import ROOT

DOCUMENT = ROOT / "docs" / "CLIENTS.md"
ROUTER_URL, KEY, MODEL = "http://localhost:8000", "sk-none", "demo-small"  # as they stand in the document
PROMPT = '"Hello"'
TIMEOUT_SECONDS = 150
EXAMPLE = re.compile(
    r"^In `(?P<file>[^`]+)`:\n\n```\w+\n(?P<content>.*?)^```$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
INTERPRETERS = {
    "bash": ("bash", "-euc"),
    "python": ("python", "-c"),
    "javascript": ("node", "--input-type=module", "--eval"),
}


@dataclass(frozen=True)
class Example:
    """A block of the document: the content of a file, or a program in one of the languages of INTERPRETERS."""

    text: str
    file: str = ""
    language: str = ""


@dataclass(frozen=True)
class Ended:
    """The end of a program: its exit code (None if it had to be killed), and all that it printed."""

    status: int | None
    output: str


def examples(client: str) -> list[Example]:
    """Return the blocks of the section with this title, in their order."""
    sections = re.split(r"^#{2,3} ", DOCUMENT.read_text(), flags=re.M)
    (section,) = (section for section in sections if section.partition("\n")[0] == client)
    return [
        Example(match["content"] or match["text"], match["file"] or "", match["language"] or "")
        for match in EXAMPLE.finditer(section)
    ]


def run_examples(
    client: str,
    environment: Environment,
    router_url: str,
    key: str,
    home: Path,
    model: str = MODEL,
    arguments: str = PROMPT,
    **variables: str,
) -> Ended:
    """Write the files and run the programs of a section in a home directory; return the last program's end.

    `arguments` replaces the prompt in the programs.
    """
    ended = None
    for example in examples(client):
        text = example.text.replace(ROUTER_URL, router_url).replace(KEY, key).replace(MODEL, model)
        if example.file:
            path = home / example.file.removeprefix("~/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        else:
            command = [*INTERPRETERS[example.language], text.replace(PROMPT, arguments)]
            ended = run_program(command, environment, home, **variables)
    assert ended is not None, f"{DOCUMENT}: no program in the section {client}"
    return ended


def run_program(command: list[str], environment: Environment, home: Path, **variables: str) -> Ended:
    """Run a program of the environment in `home` until it ends; kill all that is left of it."""
    modules = home / "node_modules"
    if environment.kind == "npm" and not modules.exists():
        modules.symlink_to(environment.root / "node_modules")
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment.variables_for(home) | variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        return Ended(status, output.read())
