"""`python -m svc.mock`: the command alone."""

import sys

from svc.errors import CommandError
from svc.mock.cli import command

try:
    command()
except CommandError as error:
    sys.exit(error.message)
