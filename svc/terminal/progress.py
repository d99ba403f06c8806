"""What somebody who waits is shown: spinners on a terminal, a line for each event elsewhere."""

import time
from types import TracebackType
from typing import Protocol

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from svc.terminal.console import Console

WIDTH = 24  # of names


class Waiting(Protocol):
    """A list of names that are waited for: each has a text that changes, and is done once."""

    def __enter__(self) -> "Waiting": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def show(self, name: str, text: str) -> None: ...

    def done(self, name: str, text: str) -> None: ...


def waiting(console: Console) -> Waiting:
    return Spinners(console) if console.is_terminal else Lines(console)


class Lines:
    """For logs and pipes: one line for each that is done, with the seconds it took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def show(self, name: str, text: str) -> None:
        pass

    def done(self, name: str, text: str) -> None:
        seconds = time.monotonic() - self.began
        self.console.print_line(f"{name:{WIDTH}} {text} ({seconds:.1f} s)")


class Spinners:
    """For people: a row a name, that ends with a tick."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
        )
        self.tasks: dict[str, object] = {}

    def __enter__(self) -> "Spinners":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def show(self, name: str, text: str) -> None:
        if name in self.tasks:
            self.progress.update(self.tasks[name], text=text)  # type: ignore[arg-type]
        else:
            self.tasks[name] = self.progress.add_task(f"{name:{WIDTH}}", total=1, text=text)

    def done(self, name: str, text: str) -> None:
        self.show(name, text)
        self.progress.update(self.tasks[name], completed=1, text=text)  # type: ignore[arg-type]
