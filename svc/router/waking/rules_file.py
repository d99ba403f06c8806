"""The sections [[model]] and [[schedule]] of a site's svc.toml, read again when the file changes."""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from svc.base.errors import SvcError
from svc.config.awake_rules import AwakeRules, ModelRule
from svc.config.settings_file import load_awake_rules

log = logging.getLogger(__name__)
CHECK_INTERVAL_SECONDS = 2.0


class RulesFile:
    """The rules of a site. While the file is invalid or missing, the last valid rules apply."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._checked_at = float("-inf")
        self._version: tuple[int, int] | None = None
        self._rules = AwakeRules()

    def rule_at(self, model: str, now: datetime) -> ModelRule:
        """Return the rule of a model at a local time."""
        if self._clock() - self._checked_at >= CHECK_INTERVAL_SECONDS:
            self._checked_at = self._clock()
            self._refresh()
        return self._rules.rule_at(model, now)

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            version = stat.st_mtime_ns, stat.st_size
            if version == self._version:
                return
            self._version = version
            self._rules = load_awake_rules(self._path)
        except FileNotFoundError:
            return
        except (OSError, SvcError) as error:
            log.warning("the rules for models on demand stay as they were: %s", error)
