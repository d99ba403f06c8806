"""`svc completion`: print the script with which a shell completes commands of svc."""

import click
from click.shell_completion import get_completion_class

from svc.terminal.output import echo_block

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes svc commands in your shell.

    It completes commands, options, files and the names of instances, models and API keys.

    \b
    For this shell only:
      eval "$(svc completion bash)"                              also zsh, after compinit
      svc completion fish | source
    For each new shell:
      mkdir -p ~/.local/share/bash-completion/completions
      svc completion bash > ~/.local/share/bash-completion/completions/svc
      svc completion zsh > ~/.zfunc/_svc                         ~/.zfunc is in fpath
      svc completion fish > ~/.config/fish/completions/svc.fish
    """
    root = context.find_root()
    completer_class = get_completion_class(shell)
    assert completer_class is not None  # click has a class for each of SHELLS
    completer = completer_class(root.command, {}, "svc", "_SVC_COMPLETE")
    echo_block(completer.source_template % completer.source_vars())
