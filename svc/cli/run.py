"""`svc run`: one instance with its babysitter in the foreground, under a supervisord of their own, without a site."""

import contextlib
import dataclasses
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from svc.base.errors import CommandError, Unavailable
from svc.config.instance.load import load_one
from svc.config.instance.model import InstanceConfig
from svc.config.site import SOCKET_LIMIT, Site
from svc.protocol.instance_names import server_program
from svc.render.generate import render_to
from svc.render.paths import Place
from svc.settings import Settings
from svc.site import supervisord_process
from svc.site.components import read_components
from svc.site.ports import refuse_taken
from svc.site.shutdown import phases, stop
from svc.site.supervisord_child import supervisord
from svc.supervision.client import SupervisordClient
from svc.terminal.console import Console
from svc.terminal.output import LogOutput, LogStream
from svc.terminal.progress import Lines

LOOK_EVERY = 0.5  # seconds


def run(config_file: Path, told: Settings, environ: Mapping[str, str], console: Console) -> None:
    """Until SIGTERM or Ctrl-C; raises CommandError when the instance is given up, or cannot be started at all."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    config = load_one(config_file, told)
    with _state() as state:
        place = Place(Path.cwd(), state / "conf.d", state, console=True)
        render_to(
            place, [config], dataclasses.replace(told, launch=dataclasses.replace(told.launch, components="babysitter"))
        )
        refuse_taken(read_components(place.conf_d))
        stream = LogStream(LogOutput())
        try:
            with supervisord(Site(state).supervisord_conf, environ, stream) as process:
                watch(config, Site(state), process, stopping, console)
        finally:
            stream.end()


def watch(
    config: InstanceConfig, site: Site, process: subprocess.Popen[bytes], stopping: threading.Event, console: Console
) -> None:
    """Looks at the instance until it is to stop, or is given up; then ends babysitter and instance in order."""
    supervisord: SupervisordClient | None = None
    trouble = ""
    while not trouble and not stopping.wait(LOOK_EVERY):
        if process.poll() is not None:
            raise CommandError(
                f"{config.source}: supervisord ended with code {process.returncode}; its words are above"
            )
        supervisord = supervisord or supervisord_process.find(site)
        trouble = _given_up(supervisord, config) if supervisord else ""
    if supervisord:
        with contextlib.suppress(Unavailable):
            stop(supervisord, phases(supervisord.processes()), Lines(console))
    if trouble:
        raise CommandError(f"{config.source}: given up: {trouble}")


def _given_up(supervisord: SupervisordClient, config: InstanceConfig) -> str:
    """Why supervisord does not start the instance any more; empty while it does."""
    try:
        server = supervisord.process(server_program(config.name))
    except Unavailable:
        return ""
    return (server.spawnerr or server.description) if server.state == "FATAL" else ""


@contextlib.contextmanager
def _state() -> Iterator[Path]:
    """A directory whose path is short enough for a socket in it."""
    base = tempfile.gettempdir()
    if len(base) > SOCKET_LIMIT // 2:
        base = "/tmp"
    path = Path(tempfile.mkdtemp(prefix="svc-", dir=base))
    try:
        Site(path).make_dirs()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
