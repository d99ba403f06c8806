"""docs/TUTORIAL.md, pasted block by block into one shell, with the real model; what it shows is what is printed."""

import importlib.util
import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.documents.blocks import Block, blocks
from tests.documents.checkout import checkout
from tests.documents.empty import Empty, taken
from tests.documents.machine import Machine, missing
from tests.documents.printed import lacking

TUTORIAL = Path("docs/TUTORIAL.md")
MODEL = importlib.util.find_spec("xllamacpp")
CLONE = "/root/infinilm-svc"


def paste(machine: Machine, block: Block) -> None:
    said = machine.run(block)
    assert not (line := lacking(block.shown, said)), f"{block.place}: {line!r} was not printed:\n{said}"


def without(reason: str) -> None:
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def test_its_blocks_run_on_this_machine(tmp_path):
    """In an empty home. What apt and PyPI would give is here already; all else is done as it stands."""
    without(missing() or ("" if MODEL else "the llama extra is not installed"))
    with closing(Machine(checkout(tmp_path), site="")) as machine:
        for block in blocks(TUTORIAL):
            if "bin/venv.sh" in block.text:
                machine.do(f"lend_venv {CLONE} llama")
            if not block.text.startswith("apt-get "):
                paste(machine, block)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_its_blocks_run_on_an_empty_machine(tmp_path):
    """A minimal Debian, made for this, with Debian's mirror, PyPI and what a clone is made of; nothing else."""
    without(missing() or (f"ports {taken()} are in use, and its network is this machine's" if taken() else ""))
    with closing(Empty(checkout(tmp_path))) as machine:
        for block in blocks(TUTORIAL):
            paste(machine, block)
    assert not machine.place.exists()
    assert str(machine.place) not in Path("/proc/self/mountinfo").read_text()
