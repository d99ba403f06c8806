"""The error messages for words such as `start`, which are commands of other programs, but not of svc. Pure."""

import shlex
from collections.abc import Sequence

# Word -> message with the command that does what the word means. {svc} and {ctl} stand for the commands that work in
# this directory, {programs} and {names} for the given instances in supervisorctl's notation and in svc's.
ANSWERS = {
    "start": "`{ctl} start {programs}` starts an instance that was stopped, `{svc} up` starts the site",
    "stop": "`{ctl} stop {programs}` stops an instance, `{svc} down` stops the site",
    "restart": "`{ctl} restart {programs}` restarts an instance, and `{svc} rollout restart {names}` "
    "does so without failing a request",
    "reload": "`{svc} apply` brings what runs in line with the files",
    "ps": "`{svc} status` shows what runs here",
    "ls": "`{svc} status` shows what runs here, `{svc} services` what the registry lists",
    "list": "`{svc} status` shows what runs here, `{svc} services` what the registry lists",
    "help": "`{svc} {help_options}` {help_effect}",
    "log": "`{svc} logs` shows the ends of the logs",
    "tail": "`{svc} logs -f` follows the logs",
    "kill": "`{svc} down` stops the site",
    "shutdown": "`{svc} down` stops the site",
}
NAMES_WITHOUT_GROUP = ("registry", "router", "all")  # all other names are groups in supervisord


def answer(word: str, arguments: Sequence[str], svc: str, supervisorctl: str) -> str | None:
    """Return the message for a word that is not a command of svc; None for a word that is not in the table.

    `svc` and `supervisorctl` are the commands that work in the current directory.
    """
    if word not in ANSWERS:
        return None
    names = [_instance(argument) for argument in arguments if not argument.startswith("-")] or ["NAME"]
    cure = ANSWERS[word].format(
        svc=svc,
        ctl=supervisorctl,
        programs=" ".join(map(_program, names)),
        names=" ".join(map(shlex.quote, names)),
        help_options=f"{names[0]} --help" if arguments else "--help",
        help_effect=f"describes {names[0]}" if arguments else "lists the commands",
    )
    return f"there is no command svc {word}: {cure}"


def answer_to_down(arguments: Sequence[str], supervisorctl: str) -> str:
    """Return the message for names of instances after `svc down`, because `svc down` cannot stop single instances."""
    programs = " ".join(_program(_instance(argument)) for argument in arguments)
    return f"svc down stops the whole site; `{supervisorctl} stop {programs}` stops an instance"


def _instance(argument: str) -> str:
    """Return the name of an instance, which the argument names by its name or by the path of its TOML."""
    return argument.removesuffix(".toml").rpartition("/")[2] if argument.endswith(".toml") else argument


def _program(name: str) -> str:
    return shlex.quote(name) if name in NAMES_WITHOUT_GROUP or ":" in name else f"{shlex.quote(name)}:*"
