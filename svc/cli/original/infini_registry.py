"""`infini-registry`: the original's program; runs `svc registry`."""

import os
import sys

from svc.__main__ import print_exception
from svc.cli.main import svc
from svc.cli.original.arguments import registry_arguments


def main() -> None:
    """Run the registry with the flags of the original; the console script `infini-registry`."""
    sys.excepthook = print_exception
    svc(registry_arguments(sys.argv[1:], os.environ), prog_name="svc")


if __name__ == "__main__":
    main()
