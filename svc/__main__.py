"""The entry point of `svc`. It patches the standard library for gevent before it imports the command line."""

import atexit
import gc
import sys
from types import TracebackType

# More objects than the imports of any command create: collections during the imports take 0.04 s, and find nothing.
GC_THRESHOLD = 100_000
GEVENT_COMMANDS = ("babysitter",)  # patched in this process; gunicorn patches the registry and the router


def main() -> None:
    """Run the command line. The console script `svc` calls this function."""
    sys.excepthook = print_exception
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(gc.freeze)  # without this, Python collects garbage several times at exit, which takes 0.1 s of CPU
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "launch":  # every program waits for `svc launch`, so click is not imported
        from svc.supervision import launch

        sys.exit(launch.main(sys.argv[2:]))
    if command in GEVENT_COMMANDS:
        from svc.base.gevent_patch import patch_all

        patch_all()
    from svc.cli.main import svc

    svc(prog_name="svc")


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception to stderr as Python does, with control characters escaped."""
    import traceback

    from svc.base.printable import escaped

    text = "".join(traceback.format_exception(kind, error, trace))
    print(escaped(text, keep="\n\t"), end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
