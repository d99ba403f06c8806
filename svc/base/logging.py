"""The log format of all programs: one line per record on stderr, as text or JSON. Entry points configure it."""

import json
import logging
import os
import time
from types import TracebackType

from svc.base.printable import escaped, escaped_json

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class TextFormatter(logging.Formatter):
    """Formats a record as one line, even if its message has line breaks; only a traceback adds further lines."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return escaped(super().formatMessage(record), keep="\t")

    def formatException(self, exc_info: ExcInfo) -> str:  # noqa: N802 - logging's name
        return escaped(super().formatException(exc_info), keep="\n\t")


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object on one line; `extra={"request_id": ...}` adds the id of a request."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", ""):
            fields["request_id"] = request_id
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return escaped_json(json.dumps(fields))


def configure(level: str | None = None) -> None:
    """Configure logging to stderr, which supervisord redirects to files in logs/.

    The level is the argument, else SVC_LOG_LEVEL, else INFO. SVC_LOG_FORMAT=json selects JSON. svc sets this variable
    for the programs under supervisord, to the format that svc.toml has in [logs].
    """
    handler = logging.StreamHandler()
    as_json = os.environ.get("SVC_LOG_FORMAT") == "json"
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    level = (level or os.environ.get("SVC_LOG_LEVEL", "INFO")).upper()
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
