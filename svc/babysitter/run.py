"""The babysitter as a process, in the foreground: its components put together, and the order in which they end."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping

import gevent

from svc.babysitter import secret
from svc.babysitter.app import create_app
from svc.babysitter.engine_check import EngineCheck
from svc.babysitter.engine_client import EngineClient
from svc.babysitter.engine_load import Traffic, get
from svc.babysitter.engine_status import NO_ANSWER, Answers, Readiness
from svc.babysitter.event_reporter import News
from svc.babysitter.hang_probe import Prober
from svc.babysitter.instance_watch import Alone, Supervised, Watch
from svc.babysitter.lifecycle import Action, State
from svc.babysitter.limits import Limits
from svc.babysitter.monitor import Babysitter
from svc.babysitter.registrar import Entry, Registrar, entries
from svc.babysitter.restarter import Remedy
from svc.babysitter.server import SWEEP_SECONDS, Server
from svc.babysitter.token_probe import Question
from svc.base.address import authority, is_loopback, local_host
from svc.base.errors import CommandError
from svc.base.loop import Loop
from svc.client.registry import RegistryClient
from svc.config.instance.model import InstanceConfig
from svc.perimeter import machine
from svc.protocol.instance_names import instance_service, server_program
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODEL_ID_LENGTH, MAX_MODELS
from svc.supervision.client import SupervisordClient
from svc.supervision.orphans import kill_instance, parent_died

log = logging.getLogger(__name__)
LIMITS_EVERY = 1.0  # seconds
LOOK_EVERY = 0.5  # seconds; an exit is known after that at the latest
FIRST_LOOK = 1.0  # seconds that the first word to the registry waits for it
REPORTS_ONLY = (
    "%s: no supervisord runs it, so the babysitter reports failures but cannot restart it; start it with `svc up`"
)


def run(config: InstanceConfig) -> None:
    """Looks after one instance until SIGTERM or SIGINT. Expects a process that gevent has patched.

    SIGHUP ends it for another that takes its place: the registrations stay.
    """
    stopping, staying = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopping.set)
    for event in (staying, stopping):
        gevent.signal_handler(signal.SIGHUP, event.set)
    sidecar = Sidecar(config, os.environ, stopping)
    sidecar.start()
    stopping.wait()
    sidecar.end(leave=not staying.is_set())


class Sidecar:
    """One babysitter's components. `stopping` is set when it is to end."""

    def __init__(self, config: InstanceConfig, environ: Mapping[str, str], stopping: threading.Event) -> None:
        self.config = config
        self.stopping = stopping
        self.group = environ.get("SUPERVISOR_GROUP_NAME", "")
        self.server_url = environ.get("SUPERVISOR_SERVER_URL", "")
        self.supervised = bool(self.server_url) and self.group == config.name
        self.environ = {"SVC_SUPERVISOR_PID": str(os.getppid()), **environ}
        self.looked = threading.Event()
        urls = [f"http://{authority(local_host(config.host), config.port)}", config.url]
        engine = EngineClient(config)
        answers = Answers(urls, in_time(EngineCheck(config, engine.status, engine.list_models)))
        effects: dict[Action, Callable[[], object]] = {}
        self.sitter = Babysitter(config, self._watch(), answers, effects)
        hostname = socket.gethostname()
        kept = secret.keep(secret.state_dir(self.server_url) / f"{config.name}.secret")
        registry = RegistryClient(config.registry_urls, config.token_file, secret=kept)
        self.registrar = Registrar(registry, lambda: self._wanted(hostname), config.heartbeat_interval)
        self._models_warned_of = 0
        self.news = News(registry, instance_service(config.name))
        self.remedy = Remedy(config.name, self._ending())
        traffic = Traffic(urls, config.router_url, instance_service(config.name), engine.get, get)
        question = Question(urls, config.probe_timeout, engine.post)
        self.prober = Prober(self.sitter, question.put, traffic.read, self.remedy)
        self.limits = Limits(self.sitter, traffic.read, self.remedy)
        self.observing = Loop("observe", self._observe, LOOK_EVERY)
        self.asking = Loop("ask", self._ask, LOOK_EVERY)
        self.telling = Loop("tell", self._tell, config.heartbeat_interval)
        self.loops = [self.observing, self.asking, self.telling]
        probes, limits = config.probe == "generate", bool(config.startup_timeout or config.max_memory)
        self.reports_only = not self.supervised and (probes or limits)
        if probes:
            self.loops.append(Loop("probe", self.prober.round, config.probe_interval))
        if limits:
            self.loops.append(Loop("limits", self.limits.round, LIMITS_EVERY))
        effects[Action.TELL] = self.telling.poke
        effects[Action.ASK] = self.asking.poke
        effects[Action.LEAVE] = self.registrar.leave
        hosts = machine.hosts(config.allowed_hosts, config.host, is_loopback(config.bind_host))
        app = create_app(self.sitter, self.registrar, self.prober, self.limits, hosts=hosts)
        self.http = Server((config.bind_host, config.babysitter_port), app)
        self.loops.append(Loop("connections", self.http.sweep, SWEEP_SECONDS))

    def start(self) -> None:
        """Raises CommandError when the port is taken."""
        try:
            self.http.start()
        except OSError as error:
            address = authority(self.config.bind_host, self.config.babysitter_port)
            raise CommandError(
                f"{self.config.source}: port: the babysitter cannot listen on the instance's port + 1, "
                f"{address}: {os.strerror(error.errno or 0).lower()}; "
                "stop what does, or choose another port"
            ) from None
        log.info("%s: watching %s, on port %d", self.config.name, self._what(), self.config.babysitter_port)
        if self.reports_only:
            log.warning(REPORTS_ONLY, self.config.name)
        for loop in self.loops:
            loop.start()

    def end(self, leave: bool = True) -> None:
        """The order of the end: an instance that nobody watches any more, both registrations, loops, HTTP.

        Without `leave` the registrations stay as they are.
        """
        if self.orphaned():
            sighting = self.sitter.picture.sighting
            log.warning("%s: supervisord is gone: ending the instance", self.config.name)
            kill_instance(self.group, self.server_url, sighting.pid if sighting and sighting.pid else None)
        if leave:
            self.sitter.end()
        for loop in self.loops:
            loop.stop(timeout=0)
        self.http.stop(timeout=0.2)
        log.info("%s: ended", self.config.name)

    def orphaned(self) -> bool:
        """Whether the supervisord that started us is no more."""
        return self.supervised and parent_died(self.environ, os.getppid())

    def _observe(self) -> None:
        if self.orphaned():  # should its death signal not have reached us
            self.stopping.set()
            return
        self.sitter.observe()
        if self.registrar.outdated:
            self.telling.poke()
        if not self.looked.is_set():
            self.asking.poke()

    def _ask(self) -> None:
        seen = self.sitter.picture.state is not State.UNSEEN
        self.sitter.ask()
        if seen:
            self.looked.set()

    def _tell(self) -> float:
        # A babysitter that was killed and is back must not call a running instance `starting`.
        self.looked.wait(FIRST_LOOK)
        self.registrar.round()
        self.news.round(self.sitter.picture.sighting)
        return self.registrar.pause()

    def _wanted(self, hostname: str) -> list[Entry]:
        picture = self.sitter.picture
        made = entries(self.config, picture.state, list(picture.models), hostname, picture.sighting)
        self._warn_of_models(len(picture.models), len(made[-1].about["metadata"].get("models", picture.models)))
        return made

    def _warn_of_models(self, count: int, registered: int) -> None:
        """Log that models are left out, once for each count: requests that name them find no instance."""
        if registered < count != self._models_warned_of:
            self._models_warned_of = count
            log.warning(
                "%s: it has %d models, of which %d are registered: a registration may have %d, with ids of at most %d "
                "printable characters, and %d KB of metadata; spread the models over several instances",
                self.config.name,
                count,
                registered,
                MAX_MODELS,
                MAX_MODEL_ID_LENGTH,
                MAX_METADATA_BYTES >> 10,
            )

    def _watch(self) -> Watch:
        if self.supervised:
            return Supervised(SupervisordClient(self.server_url), server_program(self.config.name))
        return Alone([(local_host(self.config.host), self.config.port), (self.config.host, self.config.port)])

    def _ending(self) -> Callable[[int, str], bool] | None:
        if not self.supervised:
            return None
        supervisord, program = SupervisordClient(self.server_url), server_program(self.config.name)
        return lambda pid, reason: supervisord.end(program, pid, reason)

    def _what(self) -> str:
        return (
            f"{server_program(self.config.name)} through supervisord" if self.supervised else f"port {self.config.port}"
        )


def in_time(check: EngineCheck) -> Callable[[str, float], Readiness]:
    """Return the check with an end after twice its timeout, however slowly an answer trickles in."""

    def limited(url: str, timeout: float) -> Readiness:
        with gevent.Timeout(2 * timeout, False):
            return check(url, timeout)
        return Readiness(reason=NO_ANSWER)

    return limited
