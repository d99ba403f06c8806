"""How programs log: one line an event on stderr, as text or as JSON, configured only in entry points."""

import json
import logging
import os
import time
from typing import Any

from svc.base.printable import escaped, escaped_json

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Text(logging.Formatter):
    """Format an event as one line, whatever clients have put into it; only a traceback has lines of its own."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return escaped(super().formatMessage(record), keep="\t")

    def formatException(self, exc_info: Any) -> str:  # noqa: N802 - logging's name
        return escaped(super().formatException(exc_info), keep="\n\t")


class Json(logging.Formatter):
    """One object a line; `request_id` of what was logged with `extra={"request_id": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", ""):
            told["request_id"] = request_id
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return escaped_json(json.dumps(told))


def configure(level: str | None = None) -> None:
    """Log to stderr (supervisord writes it to logs/). Level: argument, else SVC_LOG_LEVEL, else INFO.

    SVC_LOG_FORMAT says how a line looks; what [logs] says stands there too, in conf.d.
    """
    handler = logging.StreamHandler()
    as_json = os.environ.get("SVC_LOG_FORMAT") == "json"
    handler.setFormatter(Json() if as_json else Text())
    level = (level or os.environ.get("SVC_LOG_LEVEL", "INFO")).upper()
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
