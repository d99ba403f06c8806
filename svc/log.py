"""How programs log: one line an event on stderr, configured only in entry points."""

import logging
import os

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: str | None = None) -> None:
    """Log to stderr (supervisord writes it to logs/). Level: argument, else SVC_LOG_LEVEL, else INFO."""
    logging.basicConfig(format=FORMAT, level=(level or os.environ.get("SVC_LOG_LEVEL", "INFO")).upper(), force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
