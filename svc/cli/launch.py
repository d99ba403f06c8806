"""Declares `svc launch` for the list of commands. `svc.__main__` runs it without click: `svc.supervision.launch`."""

import click


@click.command("launch", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def command(arguments: tuple[str, ...]) -> None:
    """Prepare the start of a program of conf.d, then become that program. See `svc launch --help`."""
