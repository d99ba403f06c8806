"""The command blocks of a document, and what the comments above one say about running it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("README.md", "docs/*.md", "tests/README.md", "ops/*/README.md")
    for path in ROOT.glob(pattern)
)
BLOCK = re.compile(r"(?P<notes>(?:^ *<!--[^\n]*-->\n)*)^(?P<indent> *)```bash\n(?P<text>.*?)^ *```$", re.M | re.S)
NOTE = re.compile(r"<!-- *([a-z ]+?): *(.*?) *-->")
SHOWN = re.compile(r"\n+ *```text\n(.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """`notes` are the comments directly above it, and above the document's title for all of its blocks; see
    tests/README.md for those there are. `shown` is the text block that follows: what the document says is printed."""

    document: Path
    line: int
    text: str
    notes: dict[str, str] = field(default_factory=dict)
    section: str = ""
    shown: str = ""

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def runs(self) -> bool:
        """In the copy of the example site; not by another test, and not nowhere."""
        return not self.notes.keys() & {"not run", "run by"}


def blocks(document: Path) -> list[Block]:
    return read((ROOT / document).read_text(), document)


def read(text: str, document: Path) -> list[Block]:
    found = []
    common = dict(NOTE.findall(text.partition("# ")[0]))
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("indent")) + 1
        lines = (row.removeprefix(match["indent"]) for row in match["text"].splitlines(keepends=True))
        section = ([""] + re.findall(r"^## (.*)$", text[: match.start()], re.M))[-1]
        notes = common | dict(NOTE.findall(match["notes"]))
        shown = SHOWN.match(text, match.end())
        found.append(Block(document, line, "".join(lines), notes, section, shown[1] if shown else ""))
    return found
