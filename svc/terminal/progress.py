"""Shows progress to a waiting user: spinners on a terminal, else one line for each finished item."""

import time
from types import TracebackType
from typing import Protocol

from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from svc.terminal.console import Console

NAME_COLUMNS = 24


class Waiting(Protocol):
    """The progress of named items that a command waits for: each has a text that changes until it is done."""

    def __enter__(self) -> "Waiting": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def show(self, name: str, text: str) -> None:
        """Show the state of an item that is not done yet."""

    def done(self, name: str, text: str) -> None:
        """Show that an item is done, with its result as text."""

    def note(self, text: str) -> None:
        """Print one line that does not belong to an item."""


def waiting(console: Console) -> Waiting:
    """Return the progress output that suits the console."""
    return SpinnerProgress(console) if console.is_terminal else LineProgress(console)


class LineProgress:
    """Progress for logs and pipes: one line for each finished item, with the seconds since the beginning."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()

    def __enter__(self) -> "LineProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def show(self, name: str, text: str) -> None:
        """Print nothing, because logs get only results."""

    def done(self, name: str, text: str) -> None:
        """Print the name, the result and the seconds since the beginning."""
        seconds = time.monotonic() - self.began
        self.console.print_line(f"{name:{NAME_COLUMNS}} {text} ({seconds:.1f} s)")

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print_line(text)


class SpinnerProgress:
    """Progress for a terminal: one row for each item. The row of a finished item has a tick."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "SpinnerProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.tasks:
            self.progress.stop()

    def show(self, name: str, text: str) -> None:
        """Show the item with its spinner and this text."""
        if not self.tasks:
            self.progress.start()  # started only now, because a display without rows would print an empty line
        if name in self.tasks:
            self.progress.update(self.tasks[name], text=text)
        else:
            self.tasks[name] = self.progress.add_task(f"{name:{NAME_COLUMNS}}", total=1, text=text)

    def done(self, name: str, text: str) -> None:
        """Show the item with a tick and this text."""
        self.show(name, text)
        self.progress.update(self.tasks[name], completed=1, text=text)

    def note(self, text: str) -> None:
        """Print one line above the rows."""
        self.console.print_line(text)
