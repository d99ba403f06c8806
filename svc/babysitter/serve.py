"""Run the babysitter in the foreground: build its components, start its loops, and end them in order."""

import dataclasses
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping

import gevent

from svc.babysitter.app import create_app
from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.continuation_probe import ContinuationProbe
from svc.babysitter.engine_check import EngineCheck
from svc.babysitter.engine_client import EngineClient, get_text
from svc.babysitter.engine_load import EngineLoadReader, MetricsPage
from svc.babysitter.engine_status import NO_ANSWER, EngineStatus, Readiness
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.http_server import SWEEP_INTERVAL_SECONDS, BabysitterServer
from svc.babysitter.instance_watch import InstanceWatch, PortWatch, SupervisordWatch
from svc.babysitter.lifecycle import Action, LifecycleState
from svc.babysitter.load_reporter import LoadReporter
from svc.babysitter.monitor import Monitor
from svc.babysitter.registrar import Registrar, load_or_create_secret, state_directory
from svc.babysitter.registration import Registration, registrations
from svc.babysitter.registration_host import RegistrationHost
from svc.babysitter.resource_limits import ResourceLimits, memory_used
from svc.babysitter.restarter import Restarter, RestartReporter
from svc.babysitter.token_probe import TokenProbe
from svc.base.address import authority, is_loopback, local_host
from svc.base.errors import CommandError
from svc.base.loop import Loop
from svc.client.load_sender import LoadSender
from svc.client.registry import RegistryClient
from svc.config.instance.model import InstanceConfig
from svc.perimeter import local_machine
from svc.protocol.instance_load import InstanceLoad
from svc.protocol.instance_names import instance_service, server_program
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODEL_ID_LENGTH, MAX_MODELS
from svc.supervision.client import SupervisordClient
from svc.supervision.orphans import kill_instance, parent_died

log = logging.getLogger(__name__)
LIMITS_INTERVAL_SECONDS = 1.0
CONTINUATION_INTERVAL_SECONDS = 1.0  # maximum delay until a new process of the engine is probed
POLL_INTERVAL_SECONDS = 0.5  # maximum delay until an exit is noticed
FIRST_CHECK_TIMEOUT_SECONDS = 1.0  # the first registration waits at most this long for the first engine check
REPORTS_ONLY = (
    "%s: no supervisord runs it, so the babysitter reports failures but cannot restart it; start it with `svc up`"
)


def serve(config: InstanceConfig) -> None:
    """Run the babysitter of one instance until SIGTERM or SIGINT, in a process that gevent has patched.

    SIGHUP also ends the babysitter, but keeps its registrations for the babysitter that replaces it.
    """
    stopping, handing_over = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopping.set)
    for event in (handing_over, stopping):
        gevent.signal_handler(signal.SIGHUP, event.set)
    babysitter = Babysitter(config, os.environ, stopping)
    babysitter.start()
    stopping.wait()
    babysitter.end(deregister=not handing_over.is_set())


class Babysitter:
    """The components of one babysitter. The event `stopping` is set when the supervisord that started it has ended."""

    def __init__(self, config: InstanceConfig, environ: Mapping[str, str], stopping: threading.Event) -> None:
        self.config = config
        self.stopping = stopping
        self.group = environ.get("SUPERVISOR_GROUP_NAME", "")
        self.server_url = environ.get("SUPERVISOR_SERVER_URL", "")
        self.supervised = bool(self.server_url) and self.group == config.name
        self.environ = {"SVC_SUPERVISOR_PID": str(os.getppid()), **environ}
        self.engine_checked = threading.Event()
        urls = [f"http://{authority(local_host(config.host), config.port)}", config.url]
        engine = EngineClient(config)
        engine_status = EngineStatus(urls, with_deadline(EngineCheck(config, engine.status, engine.list_models)))
        effects: dict[Action, Callable[[], object]] = {}
        self.monitor = Monitor(config, self._watch(), engine_status, effects)
        hostname = socket.gethostname()
        secret = load_or_create_secret(state_directory(self.server_url) / f"{config.name}.secret")
        self.registration_host = RegistrationHost(config.host, config.registry_urls)
        registry = RegistryClient(config.registry_urls, config.token_file, secret=secret)
        self.registrar = Registrar(registry, lambda: self._registrations(hostname), config.heartbeat_interval)
        self._models_warned_of = 0
        self.restart_reporter = RestartReporter(registry, instance_service(config.name))
        self.restarter = Restarter(config.name, self._end_process())
        page = MetricsPage(urls, engine.get_text)
        load = EngineLoadReader(page, config.router_url, instance_service(config.name), get_text)
        token_probe = TokenProbe(urls, config.probe_timeout, engine.post)
        self.hang_probe = HangProbe(
            self.monitor, token_probe.send, load.read, self.restarter, page_age=config.load_interval
        )
        probe = ContinuationProbe(urls, engine.probe_continuation)
        self.continuation = ContinuationCheck(self.monitor, probe.send, lambda: self.hang_probe.in_progress)
        self.load_sender = LoadSender(registry)
        load_reporter = LoadReporter(self.monitor, page, self._send_load)
        self.limits = ResourceLimits(self.monitor, load.read, self.restarter, memory_used)
        self.process_loop = Loop("process", self._poll_process, POLL_INTERVAL_SECONDS)
        self.engine_loop = Loop("engine", self._check_engine, POLL_INTERVAL_SECONDS)
        self.heartbeat_loop = Loop("heartbeat", self._send_heartbeat, config.heartbeat_interval)
        self.loops = [self.process_loop, self.engine_loop, self.heartbeat_loop]
        has_probe, has_limits = config.probe == "generate", bool(config.startup_timeout or config.max_memory)
        self.reports_only = not self.supervised and (has_probe or has_limits)
        if config.load_interval and config.registry_urls:
            self.loops.append(Loop("load", load_reporter.run_round, config.load_interval))
        if has_probe:
            self.loops.append(Loop("probe", self.hang_probe.run_round, config.probe_interval))
        if self.continuation.enabled:
            self.loops.append(Loop("continuation", self.continuation.run_round, CONTINUATION_INTERVAL_SECONDS))
        if has_limits:
            self.loops.append(Loop("limits", self.limits.run_round, LIMITS_INTERVAL_SECONDS))
        effects[Action.REPORT] = self.heartbeat_loop.wake
        effects[Action.CHECK_ENGINE] = self.engine_loop.wake
        effects[Action.DEREGISTER] = self.registrar.deregister
        hosts = local_machine.hosts(config.allowed_hosts, config.host, is_loopback(config.bind_host))
        app = create_app(self.monitor, self.registrar, self.hang_probe, self.limits, self.continuation, hosts=hosts)
        self.http = BabysitterServer((config.bind_host, config.babysitter_port), app)
        self.loops.append(Loop("connections", self.http.sweep, SWEEP_INTERVAL_SECONDS))

    def start(self) -> None:
        """Start the HTTP server and the loops; raise CommandError if the port is in use."""
        try:
            self.http.start()
        except OSError as error:
            address = authority(self.config.bind_host, self.config.babysitter_port)
            raise CommandError(
                f"{self.config.source}: port: the babysitter cannot listen on the instance's port + 1, "
                f"{address}: {os.strerror(error.errno or 0).lower()}; "
                "stop what does, or choose another port"
            ) from None
        log.info("%s: watching %s, on port %d", self.config.name, self._watched(), self.config.babysitter_port)
        if self.reports_only:
            log.warning(REPORTS_ONLY, self.config.name)
        for loop in self.loops:
            loop.start()

    def end(self, deregister: bool = True) -> None:
        """End the instance if supervisord has ended; remove both registrations; end the loops and the HTTP server.

        If `deregister` is false, the registrations are kept.
        """
        if self.is_orphaned():
            process = self.monitor.snapshot.process
            log.warning("%s: supervisord is gone: ending the instance", self.config.name)
            kill_instance(self.group, self.server_url, process.pid if process and process.pid else None)
        if deregister:
            self.monitor.end()
        for loop in self.loops:
            loop.stop(timeout=0)
        self.http.stop(timeout=0.2)
        log.info("%s: ended", self.config.name)

    def is_orphaned(self) -> bool:
        """Return whether the supervisord that started this process has ended."""
        return self.supervised and parent_died(self.environ, os.getppid())

    def _poll_process(self) -> None:
        if self.is_orphaned():  # in case the parent-death signal did not reach this process
            self.stopping.set()
            return
        self.monitor.poll_process()
        if self.registrar.outdated:
            self.heartbeat_loop.wake()
        if not self.engine_checked.is_set():
            self.engine_loop.wake()

    def _check_engine(self) -> None:
        polled = self.monitor.snapshot.state is not LifecycleState.UNSEEN
        self.monitor.check_engine()
        if polled:
            self.engine_checked.set()

    def _send_heartbeat(self) -> float:
        # Wait, because a babysitter that was killed and restarted must not report a running instance as `starting`.
        self.engine_checked.wait(FIRST_CHECK_TIMEOUT_SECONDS)
        self.registration_host.refresh()
        self.registrar.run_round()
        self.restart_reporter.run_round(self.monitor.snapshot.process)
        return self.registrar.pause()

    def _send_load(self, load: InstanceLoad) -> bool | None:
        if not self.registrar.registered:
            return None
        return self.load_sender.send(instance_service(self.config.name), load)

    def _registrations(self, hostname: str) -> list[Registration]:
        snapshot = self.monitor.snapshot
        config = dataclasses.replace(self.config, host=self.registration_host.value)
        proofs = self.continuation.continues, self.continuation.continues_messages
        wanted = registrations(config, snapshot.state, snapshot.models, hostname, snapshot.process, *proofs)
        registered = wanted[-1].fields["metadata"].get("models", snapshot.models)
        self._warn_of_models(len(snapshot.models), len(registered))
        return wanted

    def _warn_of_models(self, count: int, registered: int) -> None:
        """Log, once for each `count`, that the registration omits models, for which the router then has no instance."""
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

    def _watch(self) -> InstanceWatch:
        if self.supervised:
            return SupervisordWatch(SupervisordClient(self.server_url), server_program(self.config.name))
        return PortWatch([(local_host(self.config.host), self.config.port), (self.config.host, self.config.port)])

    def _end_process(self) -> Callable[[int, str], bool] | None:
        """Return the function that ends the instance's process through supervisord; None without supervisord."""
        if not self.supervised:
            return None
        supervisord, program = SupervisordClient(self.server_url), server_program(self.config.name)
        return lambda pid, reason: supervisord.force_restart(program, pid, reason)

    def _watched(self) -> str:
        return (
            f"{server_program(self.config.name)} through supervisord" if self.supervised else f"port {self.config.port}"
        )


def with_deadline(check: Callable[[str, float], Readiness]) -> Callable[[str, float], Readiness]:
    """Return a function like `check` that ends after at most twice the timeout, even if a response arrives slowly."""

    def limited(url: str, timeout: float) -> Readiness:
        with gevent.Timeout(2 * timeout, False):
            return check(url, timeout)
        return Readiness(reason=NO_ANSWER)

    return limited
