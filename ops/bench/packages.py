"""The command that installs what the benchmark needs, for the Python that runs it."""

import sys


def install_command(*extras: str) -> str:
    """Return the command between backticks; without svc itself, that of an installation from this checkout."""
    try:
        from svc.base.own_commands import pip_install
    except ImportError:
        return f"`{sys.executable} -m pip install -e '.[{','.join(extras)}]'`"
    return " and ".join(f"`{pip_install(extra)}`" for extra in extras)
