"""The console of commands that print tables, colours and progress."""

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from svc.base.printable import printable


class Console(rich.console.Console):
    """A console that prints text literally: it interprets no markup and shows control characters as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments to print, with control characters in their text replaced.

        Segments marked `control` contain the escape sequences of rich itself, so they stay unchanged.
        """
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, keep="\n\t"))

    def print_line(self, text: str | Text, style: str = "") -> None:
        """Print one line without wrapping; a line break inside the text is shown as a visible character."""
        self.print(one_line(text), style=style or None, soft_wrap=True)


def one_line(text: str | Text) -> Text:
    """Return the text on a single line, with its styles."""
    line = text.copy() if isinstance(text, Text) else Text(text)
    line.plain = printable(line.plain, keep="\t")
    return line
