"""Checks, for the page, whether `config/svc.toml` sets a file of API keys that the running router does not use."""

from pathlib import Path

from svc.base.errors import ConfigError
from svc.config.router_keys import is_unapplied
from svc.config.settings_file import load_settings


class UnappliedKeys:
    """Reads the settings again when they have changed. `keys_file`: the file of API keys that the router uses."""

    def __init__(self, settings_file: Path, keys_file: str) -> None:
        self._path = settings_file
        self._keys_file = keys_file
        self._version: tuple[int, ...] = ()
        self._exist = False

    def exist(self) -> bool:
        """Return whether the settings contain a file of API keys that the router does not use.

        While the settings are invalid, the last result stays.
        """
        version = _version(self._path)
        if version != self._version:
            self._version = version
            try:
                configured = load_settings(self._path, check_rules=False).router.keys_file
            except ConfigError:
                return self._exist
            self._exist = is_unapplied(configured, self._keys_file)
        return self._exist


def _version(path: Path) -> tuple[int, ...]:
    """Return numbers that change when the file changes; () for a file that cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
