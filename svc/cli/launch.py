"""`svc launch`: the program in front of every program in conf.d. `svc.__main__` runs it without loading click."""

import click


@click.command("launch", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def command(arguments: tuple[str, ...]) -> None:
    """Prepare a program of conf.d, then become it. See `svc launch --help`."""
