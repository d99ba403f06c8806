"""`svc run`: runs one instance and its babysitter in the foreground, under their own supervisord, without a site."""

import contextlib
import dataclasses
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from svc.base import garbage
from svc.base.errors import CommandError, Unavailable
from svc.config.instance.load import load_one
from svc.config.instance.model import InstanceConfig
from svc.config.site import MAX_SOCKET_PATH_BYTES, Site
from svc.protocol.instance_names import server_program
from svc.render.generate import render_to
from svc.render.paths import RenderPaths
from svc.settings import Settings
from svc.site import supervisord_process
from svc.site.components import read_components
from svc.site.ports import refuse_taken
from svc.site.shutdown import stop_in_phases, stop_phases
from svc.supervision.client import SupervisordClient
from svc.terminal.console import Console
from svc.terminal.output import LogOutput, LogStream
from svc.terminal.progress import LineProgress

POLL_INTERVAL_SECONDS = 0.5


def run(config_file: Path, settings: Settings, environ: Mapping[str, str], console: Console) -> None:
    """Run the instance of this file until SIGTERM or Ctrl-C.

    Raise CommandError if the instance cannot be started, or if supervisord gives it up.
    """
    config = load_one(config_file, settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with _temporary_directory() as directory:
        place = RenderPaths(Path.cwd(), directory / "conf.d", directory, logs_to_stdout=True)
        launch = dataclasses.replace(settings.launch, components="babysitter")
        render_to(place, [config], dataclasses.replace(settings, launch=launch))
        refuse_taken(read_components(place.conf_d))
        stream = LogStream(LogOutput())
        try:
            conf = Site(directory).supervisord_conf
            with supervisord_process.foreground_supervisord(conf, environ, stream) as process:
                _watch(config, Site(directory), process, stopping, console)
        finally:
            stream.end()


def _watch(
    config: InstanceConfig, site: Site, process: subprocess.Popen[bytes], stopping: threading.Event, console: Console
) -> None:
    """Wait until a stop signal arrives or supervisord gives the instance up; then stop babysitter and instance."""
    garbage.begin_collections()
    supervisord: SupervisordClient | None = None
    failure = ""
    while not failure and not stopping.wait(POLL_INTERVAL_SECONDS):
        if process.poll() is not None:
            raise CommandError(
                f"{config.source}: supervisord ended with code {process.returncode}; its output is above"
            )
        supervisord = supervisord or supervisord_process.connect(site)
        failure = _failure(supervisord, config) if supervisord else ""
    if supervisord:
        with contextlib.suppress(Unavailable):
            stop_in_phases(supervisord, stop_phases(supervisord.processes()), LineProgress(console))
    if failure:
        raise CommandError(f"{config.source}: given up: {failure}")


def _failure(supervisord: SupervisordClient, config: InstanceConfig) -> str:
    """Return why supervisord gave the instance up, or an empty text if it did not."""
    try:
        server = supervisord.process(server_program(config.name))
    except Unavailable:
        return ""
    return (server.spawnerr or server.description) if server.state == "FATAL" else ""


@contextlib.contextmanager
def _temporary_directory() -> Iterator[Path]:
    """Yield a directory whose path is short enough for a UNIX socket in it."""
    base = tempfile.gettempdir()
    if len(base) > MAX_SOCKET_PATH_BYTES // 2:
        base = "/tmp"
    path = Path(tempfile.mkdtemp(prefix="svc-", dir=base))
    try:
        Site(path).make_dirs()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
