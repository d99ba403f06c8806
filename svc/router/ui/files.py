"""The page's files, as they lie in the package."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
SHELL = "index.html"


class File(NamedTuple):
    content: bytes
    kind: str
    digest: str


@cache
def files() -> dict[str, File]:
    """By name; read once, when the first page is opened. Nothing else can be asked for."""
    found = {}
    for path in sorted(PAGE.rglob("*")):
        if kind := KINDS.get(path.suffix):
            content = path.read_bytes()
            found[path.relative_to(PAGE).as_posix()] = File(content, kind, hashlib.sha256(content).hexdigest()[:16])
    return found
