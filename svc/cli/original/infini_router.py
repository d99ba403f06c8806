"""`infini-router`: the original's program; runs `svc router`."""

import os
import sys

from svc.__main__ import print_exception
from svc.cli.main import svc
from svc.cli.original.arguments import router_arguments


def main() -> None:
    """Run the router with the flags of the original; the console script `infini-router`."""
    sys.excepthook = print_exception
    svc(router_arguments(sys.argv[1:], os.environ), prog_name="svc")


if __name__ == "__main__":
    main()
