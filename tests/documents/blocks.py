"""The command blocks of a document, with the comments above each that say how it is run.

A command block is in `bash` or in `python`. A document NAME.zh-CN.md is the translation of NAME.md.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("README*.md", "docs/*.md", "tests/README.md", "ops/*/README.md")
    for path in ROOT.glob(pattern)
)
TRANSLATIONS = {path: path.with_name(path.name.replace(".zh-CN", "")) for path in DOCUMENTS if ".zh-CN" in path.name}
LANGUAGES = ("bash", "python")
BLOCK = re.compile(
    r"(?P<notes>(?:^ *<!--[^\n]*-->\n)*)^(?P<indent> *)```(?P<language>bash|python)\n(?P<text>.*?)^ *```$", re.M | re.S
)
NOTE = re.compile(r"<!-- *([a-z ]+?): *(.*?) *-->")
SHOWN = re.compile(r"\n+ *```(text|json)\n(.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One command block.

    `notes` are the comments directly above it, and those above the document's title, which are for all its blocks;
    tests/README.md lists them. `shown` is the text block that follows, and `shown_json` the JSON block: the output that
    the document shows.
    """

    document: Path
    line: int
    text: str
    notes: dict[str, str] = field(default_factory=dict)
    section: str = ""
    shown: str = ""
    shown_json: str = ""
    language: str = "bash"

    @property
    def command(self) -> str:
        """Return what a shell runs."""
        return f"python3 - <<'END_OF_BLOCK'\n{self.text}END_OF_BLOCK\n" if self.language == "python" else self.text

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def runs(self) -> bool:
        """Return whether test_documents.py runs it, rather than another test or none."""
        return not self.notes.keys() & {"not run", "run by"}


def blocks(document: Path) -> list[Block]:
    return read((ROOT / document).read_text(), document)


def read(text: str, document: Path) -> list[Block]:
    command_blocks = []
    common = dict(NOTE.findall(text.partition("# ")[0]))
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("indent")) + 1
        lines = (row.removeprefix(match["indent"]) for row in match["text"].splitlines(keepends=True))
        section = ([""] + re.findall(r"^## (.*)$", text[: match.start()], re.M))[-1]
        notes = common | dict(NOTE.findall(match["notes"]))
        shown = SHOWN.match(text, match.end())
        output = {shown[1]: shown[2]} if shown else {}
        command_blocks.append(
            Block(
                document,
                line,
                "".join(lines),
                notes,
                section,
                output.get("text", ""),
                output.get("json", ""),
                match["language"],
            )
        )
    return command_blocks
