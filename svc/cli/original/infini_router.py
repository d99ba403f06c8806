"""`infini-router`, a program of the original: runs `svc router`."""

import os
import sys

from svc.cli.original.arguments import router_arguments
from svc.cli.original.program import run_as_svc


def main() -> None:
    """Run the router with the original's flags. The console script `infini-router` calls this function."""
    run_as_svc(router_arguments(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
