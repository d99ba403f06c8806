"""Where `svc` begins: what must happen before anything else is imported."""

import sys
from types import TracebackType

PATCHED = ("babysitter", "mock")  # commands that serve with gevent in this process; gunicorn patches for itself


def main() -> None:
    """The console script."""
    sys.excepthook = print_exception
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "launch":  # in front of every program: no click, no delay
        from svc.supervision import launch

        sys.exit(launch.main(sys.argv[2:]))
    if command in PATCHED:
        from gevent import monkey

        monkey.patch_all()
    from svc.cli.main import svc

    svc(prog_name="svc")


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception to stderr as Python does, but for control characters that its message may quote."""
    import traceback

    from svc.base.printable import escaped

    text = "".join(traceback.format_exception(kind, error, trace))
    print(escaped(text, keep="\n\t"), end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
