"""`infini-router`: the original's program; runs `svc router`."""

import os
import sys

from svc.cli.original.arguments import router_arguments
from svc.cli.original.program import run_as_svc


def main() -> None:
    """Run the router with the flags of the original; the console script `infini-router`."""
    run_as_svc(router_arguments(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
