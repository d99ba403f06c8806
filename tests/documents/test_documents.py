"""Every command block of the documents runs in order in a copy of the example site, or says why it does not."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.blocks import DOCUMENTS, LANGUAGES, ROOT, TRANSLATIONS, Block, blocks
from tests.documents.checkout import checkout
from tests.documents.machine import Machine, missing
from tests.documents.printed import first_json_difference

FENCES = {
    "bash",
    "toml",
    "yaml",
    "json",
    "ini",
    "python",
    "javascript",
    "nginx",
    "conf",
    "text",
    "dockerfile",
    "{toctree}",
    "",
}

NOTES = {"not run", "run by", "on", "before", "until", "exits"}
ALL = [block for document in DOCUMENTS for block in blocks(document)]
RUN = sorted({block.document for block in ALL if block.runs} - TRANSLATIONS.keys())
LONG = {
    Path(f"docs/{name}.md")
    for name in ("EVENTS", "KEYS", "LOGS", "MULTI_SERVICE_README", "ON_DEMAND", "ROLLOUTS", "STATUS")
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def machine(copy) -> Iterator[Machine]:
    if reason := missing():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    session = Machine(copy)
    yield session
    session.close()


@pytest.mark.parametrize(
    "document", [pytest.param(path, marks=pytest.mark.long) if path in LONG else path for path in RUN], ids=str
)
def test_the_blocks_of_a_document_run(document, machine):
    for block in blocks(document):
        if block.runs:
            output = machine.run(block)
            difference = first_json_difference(block.shown_json, output) if block.shown_json else ""
            assert not difference, f"{block.place}: {difference}\n{output}"


def test_a_block_that_does_not_run_says_why(capsys):
    not_run = [block for block in ALL if not block.runs]
    with capsys.disabled():
        print(f"\n{len(ALL) - len(not_run)} command blocks of the documents are run; not run here:")
        for block in not_run:
            print(f"  {block.place}: {block.notes.get('not run') or 'run by ' + block.notes['run by']}")
    assert [block.place for block in not_run if not (block.notes.get("not run") or block.notes.get("run by"))] == []


def test_a_block_of_another_test_is_read_by_that_test():
    for block in ALL:
        if by := block.notes.get("run by"):
            source = (ROOT / by).read_text()
            assert "documents.blocks" in source, f"{block.place}: {by} reads no document"
            assert block.document.name in source, f"{block.place}: {by} reads others"


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_the_comments_above_a_block_are_known(block: Block):
    assert block.notes.keys() <= NOTES
    assert "" not in block.notes.values()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_fence_has_a_known_language(document):
    """Each fence names its language, and only `bash` and `python` fences hold commands."""
    opened = re.findall(r"^ *```(\S*)$", (ROOT / document).read_text(), re.M)[::2]
    assert set(opened) <= FENCES
    assert sum(map(opened.count, LANGUAGES)) == len(blocks(document))


@pytest.mark.parametrize("document", TRANSLATIONS, ids=str)
def test_a_translation_has_the_commands_and_sections_of_its_original(document):
    """They are run in the original, and so not again."""
    translated, original = blocks(document), blocks(TRANSLATIONS[document])
    assert [without_comments(block) for block in translated] == [without_comments(block) for block in original]
    assert [block.shown_json for block in translated] == [block.shown_json for block in original]
    assert headings(document) == headings(TRANSLATIONS[document])


def without_comments(block: Block) -> list[str]:
    """Return the lines of a block without comments, which may be translated."""
    return [line for row in block.text.splitlines() if (line := re.sub(r"(^|\s+)#\s.*$", "", row))]


def headings(document: Path) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / document).read_text(), flags=re.M | re.S)
    return re.findall(r"^#+", text, re.M)
