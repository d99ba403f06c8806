"""`infini-registry`: the original's program; runs `svc registry`."""

import os
import sys

from svc.cli.original.arguments import registry_arguments
from svc.cli.original.program import run_as_svc


def main() -> None:
    """Run the registry with the flags of the original; the console script `infini-registry`."""
    run_as_svc(registry_arguments(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
