"""`python -m svc.mock`: the command alone."""

import sys

from svc.base.errors import CommandError
from svc.cli.mock import command

try:
    command()
except CommandError as error:
    sys.exit(error.message)
