"""The commands with which a user in the current directory can run svc, and programs of the same Python environment."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

DISTRIBUTION = "infinilm-svc"
SUDO_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # sudo's default secure_path


def command_name(through_sudo: bool = False) -> str:
    """Return the command that runs this `svc` from the current directory.

    With `through_sudo`, the command also works after `sudo`, which uses another PATH than the user's.
    """
    return shlex.join(_command(through_sudo))


def _command(through_sudo: bool = False) -> list[str]:
    """Return the command of `command_name` as a list: the program and its arguments."""
    program = shutil.which("svc", path=SUDO_PATH if through_sudo else None)
    if program and os.path.exists(sys.argv[0]) and os.path.samefile(program, sys.argv[0]):
        return ["svc"]
    if os.path.basename(sys.argv[0]) == "__main__.py":
        return [_from_here(sys.executable), "-m", "svc"]
    return [_from_here(sys.argv[0])]


def as_user(user: str, arguments: Sequence[str] = ()) -> str:
    """Return the command that runs this `svc` as another user. `arguments` defaults to those of the current process."""
    return f"sudo -u {shlex.quote(user)} {command_name(through_sudo=True)} {shlex.join(arguments or sys.argv[1:])}"


def in_directory(directory: Path, *arguments: str) -> str:
    """Return the command that runs this `svc` in another directory."""
    program, *options = _command()
    if program != "svc" and os.path.exists(program):
        program = os.path.abspath(program)
    return f"cd {shlex.quote(str(directory))} && {shlex.join([program, *options, *arguments])}"


def program_beside(name: str) -> str:
    """Return the command of a program in svc's own environment: its name if it is found on PATH, else its path."""
    path = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if on_path and path.exists() and os.path.samefile(on_path, path):
        return name
    return shlex.quote(_from_here(str(path)))


def with_usable_commands(message: str) -> str:
    """Return the message with commands between backticks changed so that they work even if svc is not on PATH."""
    if shutil.which("svc"):
        return message
    message = message.replace("`svc ", f"`{command_name()} ")
    return message.replace("`supervisorctl ", f"`{program_beside('supervisorctl')} ")


def pip_install(extra: str) -> str:
    """Return the command that installs the packages of an extra into svc's own environment.

    The command lists the packages and not the extra, because the project itself may be installed from a checkout.
    """
    from importlib import metadata  # here, because the import takes 30 ms and few messages contain this command

    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        requirements = []
    packages = [_package(text) for text in requirements if f'extra == "{extra}"' in text]
    return f"{pip_command()} install {shlex.join(packages or [f'{DISTRIBUTION}[{extra}]'])}"


def _package(requirement: str) -> str:
    """Return a requirement without its environment marker, as an argument for pip."""
    return requirement.partition(";")[0].strip()


def pip_command() -> str:
    """Return the command that runs pip on svc's own environment, even if that environment contains no pip."""
    if (Path(sys.executable).parent / "pip").exists():
        return program_beside("pip")
    return f"python3 -m pip --python {shlex.quote(_from_here(sys.executable))}"


def _from_here(path: str) -> str:
    """Return a path relative to the current directory if the path is below it, else the path unchanged."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
