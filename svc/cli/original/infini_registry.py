"""`infini-registry`, a program of the original: runs `svc registry`."""

import os
import sys

from svc.cli.original.arguments import registry_arguments
from svc.cli.original.program import run_as_svc


def main() -> None:
    """Run the registry with the original's flags. The console script `infini-registry` calls this function."""
    run_as_svc(registry_arguments(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
