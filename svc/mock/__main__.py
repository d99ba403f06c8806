"""The entry point of `python -m svc.mock`, which imports no other command of svc."""

import sys

from svc.base.errors import CommandError
from svc.cli.mock import command

try:
    command()
except CommandError as error:
    sys.exit(error.message)
