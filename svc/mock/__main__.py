"""Run `python -m svc.mock`, without the rest of svc's commands."""

import sys

from svc.base.errors import CommandError
from svc.cli.mock import command

try:
    command()
except CommandError as error:
    sys.exit(error.message)
