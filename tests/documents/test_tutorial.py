"""docs/TUTORIAL.md, run block by block in one shell with the real model; its outputs are those that it shows."""

import importlib.util
import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.documents.blocks import Block, blocks
from tests.documents.checkout import checkout
from tests.documents.empty import EmptyMachine, ports_in_use
from tests.documents.machine import Machine, missing
from tests.documents.printed import first_missing_line

TUTORIAL = Path("docs/TUTORIAL.md")
MODEL = importlib.util.find_spec("xllamacpp")
CLONE = "/root/infinilm-svc"


def run_and_compare(machine: Machine, block: Block) -> None:
    output = machine.run(block)
    assert not (line := first_missing_line(block.shown, output)), f"{block.place}: {line!r} was not printed:\n{output}"


def fail_or_skip(reason: str) -> None:
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.mark.long  # the test below runs the same blocks
def test_its_blocks_run_on_this_machine(tmp_path):
    """In an empty home directory, with the packages of apt and PyPI already installed."""
    fail_or_skip(missing() or ("" if MODEL else "the llama extra is not installed"))
    with closing(Machine(checkout(tmp_path), site="")) as machine:
        for block in blocks(TUTORIAL):
            if "bin/venv.sh" in block.text:
                machine.do(f"lend_venv {CLONE} llama")
            if not block.text.startswith("apt-get "):
                run_and_compare(machine, block)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_its_blocks_run_on_an_empty_machine(tmp_path):
    """In a new minimal Debian, with access to Debian's mirror, PyPI and the repository only."""
    fail_or_skip(
        missing() or (f"ports {ports_in_use()} are in use, and its network is this machine's" if ports_in_use() else "")
    )
    with closing(EmptyMachine(checkout(tmp_path))) as machine:
        for block in blocks(TUTORIAL):
            run_and_compare(machine, block)
    assert not machine.directory.exists()
    assert str(machine.directory) not in Path("/proc/self/mountinfo").read_text()
