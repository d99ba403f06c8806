"""Where `svc` begins: what must happen before anything else is imported."""

import sys

PATCHED = ("babysitter", "mock")  # commands that serve with gevent in this process; gunicorn patches for itself


def main() -> None:
    """The console script."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "launch":  # in front of every program: no click, no delay
        from svc.supervision import launch

        sys.exit(launch.main(sys.argv[2:]))
    if command in PATCHED:
        from gevent import monkey

        monkey.patch_all()
    from svc.cli import svc

    svc(prog_name="svc")


if __name__ == "__main__":
    main()
