"""The gunicorn application class that the registry and the router extend: one worker, which dies with its master."""

import signal
from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from svc.base import gevent_patch, signals

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker


class PropagatingLogger(Logger):
    """Passes gunicorn's log records on to the root logger, so that they have the same format as svc's own records."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class GunicornApplication(BaseApplication):
    """A gunicorn application whose subclass returns gunicorn settings from `options` and a WSGI app from `load`.

    gunicorn calls the hooks `when_ready`, `post_fork` and `post_worker_init`. A subclass that overrides a hook must
    call the hook of this class, too.
    """

    def options(self) -> dict[str, object]:
        """Return the gunicorn settings of the subclass; this class adds the worker count, the logger and the hooks."""
        raise NotImplementedError

    def load_config(self) -> None:
        common = {
            "workers": 1,
            "control_socket_disable": True,
            "logger_class": PropagatingLogger,
            "when_ready": self.when_ready,
            "post_fork": self.post_fork,
            "post_worker_init": self.post_worker_init,
        }
        for key, value in (common | self.options()).items():
            if key in self.cfg.settings:  # older versions of gunicorn lack the control-socket setting
                self.cfg.set(key, value)

    def when_ready(self, arbiter: "Arbiter") -> None:
        """Prepare the fork of the worker. gunicorn calls this hook in the master once the master listens."""
        for number in (signal.SIGTTIN, signal.SIGTTOU):  # ignored, because gunicorn would add or remove a worker
            signal.signal(number, signal.SIG_IGN)
        gevent_patch.skip_plugins()  # gunicorn's gevent worker patches the standard library after the fork
        signals.block_during_forks()

    def post_fork(self, arbiter: "Arbiter", worker: "Worker") -> None:
        """Let the worker die with the master. gunicorn calls this hook in the worker right after the fork."""
        signals.die_with_parent(signal.SIGKILL, worker.ppid)

    def post_worker_init(self, worker: "Worker") -> None:
        """Ignore SIGINT and unblock the stop signals. gunicorn calls this hook after it has installed its handlers.

        Ctrl-C also reaches the master, which then stops the worker. A second Ctrl-C would make the worker print a
        traceback.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signals.unblock()
