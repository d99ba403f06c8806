"""Groups of commands: their help, and the error message for a word that is not a command."""

import difflib
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from svc.terminal.output import echo

UNLIMITED_CHARACTERS = 10_000  # longer than any summary, so that click shortens none
WRONG_USE_EXIT_CODE = 2


class UnknownCommand(click.ClickException):
    """The error for a word that is not a command; its message contains the command to use instead."""

    exit_code = WRONG_USE_EXIT_CODE

    def show(self, file: Any = None) -> None:
        """Print the error as one line on stderr."""
        echo(f"svc: {self.message}", err=True)


class CommandGroup(click.Group):
    """A group that shows whole summaries in its help, and the most similar command for an unknown word."""

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the name and the summary of each command that the help lists."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return [
            (name, command.get_short_help_str(UNLIMITED_CHARACTERS))
            for name, command in commands
            if command is not None and not command.hidden
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries of the commands. click itself would cut each of them to one line."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands or options that begin with `incomplete`. click's own version would load every command."""
        commands = [
            CompletionItem(name, help=summary) for name, summary in self.summaries(ctx) if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command at the beginning of the arguments; raise UnknownCommand if there is none."""
        word = args[0]
        if not word.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, word) is None:
            raise UnknownCommand(self.answer(ctx, word, args[1:]))
        return super().resolve_command(ctx, args)

    def answer(self, ctx: click.Context, word: str, arguments: Sequence[str]) -> str:
        """Return the message for a word that is not a command. It names the most similar command, or else the help."""
        path, near = ctx.command_path, self.nearest(ctx, word)
        cure = f"did you mean {path} {near}?" if near else f"`{path} --help` lists the commands"
        return f"there is no command {path} {word}; {cure}"

    def nearest(self, ctx: click.Context, word: str) -> str:
        """Return the command whose spelling is most similar to `word`; "" if none is similar."""
        names = [name for name, _ in self.summaries(ctx)]
        return next(iter(difflib.get_close_matches(word, names, 1)), "")
