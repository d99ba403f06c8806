"""gunicorn's words go where ours go, and look like them."""

from typing import Any

from gunicorn.glogging import Logger


class Log(Logger):
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
