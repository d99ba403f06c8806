"""The entry point of `python -m svc.mock`, which does not import svc's other commands."""

import sys

from svc.base.errors import CommandError
from svc.cli.mock import command

try:
    command()
except CommandError as error:
    sys.exit(error.message)
