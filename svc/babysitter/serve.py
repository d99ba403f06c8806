"""Run the babysitter in the foreground: build its components, start its loops, and end them in order."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

import gevent

from svc.babysitter.app import create_app
from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.continuation_probe import ContinuationProbe
from svc.babysitter.current_registrations import CurrentRegistrations
from svc.babysitter.engine_check import EngineCheck, with_deadline
from svc.babysitter.engine_client import EngineClient, get_text
from svc.babysitter.engine_load import EngineLoadReader, MetricsPage
from svc.babysitter.engine_status import EngineStatus
from svc.babysitter.gpu_reporter import gpu_reporter
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.http_server import SWEEP_INTERVAL_SECONDS, BabysitterServer
from svc.babysitter.instance_watch import InstanceWatch, PortWatch, SupervisordWatch
from svc.babysitter.lifecycle import Action, LifecycleState
from svc.babysitter.load_reporter import LoadReporter
from svc.babysitter.monitor import Monitor
from svc.babysitter.on_demand.assembly import Assembly
from svc.babysitter.on_demand.bell import FILE_NAME as BELL_FILE_NAME
from svc.babysitter.on_demand.bell import WAIT_SECONDS as BELL_WAIT_SECONDS
from svc.babysitter.on_demand.bell import Bell
from svc.babysitter.on_demand.endpoints import UNSUPERVISED
from svc.babysitter.on_demand.on_demand_loop import INTERVAL_SECONDS as ON_DEMAND_INTERVAL_SECONDS
from svc.babysitter.on_demand.on_demand_loop import OnDemand
from svc.babysitter.registrar import Registrar, load_or_create_secret, state_directory
from svc.babysitter.registration_host import RegistrationHost
from svc.babysitter.resource_limits import ResourceLimits, memory_used
from svc.babysitter.restarter import Restarter, RestartReporter
from svc.babysitter.token_probe import TokenProbe
from svc.base import garbage
from svc.base.address import authority, is_loopback, local_host
from svc.base.errors import CommandError
from svc.base.loop import Loop
from svc.client.event_sender import EventSender
from svc.client.load_sender import LoadSender
from svc.client.registry import RegistryClient
from svc.config.instance.model import InstanceConfig
from svc.perimeter import local_machine
from svc.protocol.gpu_report import GPU_INTERVAL_SECONDS
from svc.protocol.instance_load import InstanceLoad
from svc.protocol.instance_names import instance_service, server_program
from svc.supervision.client import SupervisordClient
from svc.supervision.orphans import kill_instance, parent_died

log = logging.getLogger(__name__)
LIMITS_INTERVAL_SECONDS = 1.0
CONTINUATION_INTERVAL_SECONDS = 1.0  # maximum delay until a new process of the engine is probed
WAKING_INTERVAL_SECONDS = 0.2
ENDING_INTERVAL_SECONDS = 0.1
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
    garbage.begin_collections()
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
        directory = state_directory(self.server_url)
        self.on_demand: OnDemand | None = None
        sleeper = Assembly(config, directory, urls, engine.request)
        check = sleeper.check(EngineCheck(config, engine.status, engine.list_models))
        engine_status = EngineStatus(urls, with_deadline(check))
        effects: dict[Action, Callable[[], object]] = {}
        sleeps = config.on_demand and self.supervised
        models, watch = sleeper.models if sleeps else [], self._watch()
        self.monitor = Monitor(config, watch, engine_status, effects, time.monotonic, sleeper.observe, models, sleeps)
        secret = load_or_create_secret(directory / f"{config.name}.secret")
        self.registration_host = RegistrationHost(config.host, config.registry_urls)
        registry = RegistryClient(config.registry_urls, config.token_file, secret=secret)
        self.registrar = Registrar(registry, lambda: current_registrations(), config.heartbeat_interval)
        self.event_sender = EventSender(registry)
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
        current_registrations = CurrentRegistrations(
            self.monitor, self.continuation, self.registration_host, lambda: self.on_demand
        )
        self.load_sender = LoadSender(registry)
        load_reporter = LoadReporter(self.monitor, page, self._send_load)
        reporter = gpu_reporter(config, directory, self.registrar)
        self.limits = ResourceLimits(self.monitor, load.read, self.restarter, memory_used)
        self.process_loop = Loop("process", self._poll_process, POLL_INTERVAL_SECONDS)
        self.engine_loop = Loop("engine", self._check_engine, POLL_INTERVAL_SECONDS)
        self.heartbeat_loop = Loop("heartbeat", self._send_heartbeat, config.heartbeat_interval)
        self.loops = [self.process_loop, self.engine_loop, self.heartbeat_loop]
        self.loops.append(Loop("GPUs", reporter.run_round, GPU_INTERVAL_SECONDS))
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
        self.on_demand_loop: Loop | None = None
        if self.supervised and (config.on_demand or config.resources):
            probes, is_draining_known = (self.hang_probe, self.continuation), self._is_draining_known
            bell = Bell(directory / BELL_FILE_NAME, self._begin_on_demand_round)
            self.on_demand = sleeper.build(
                self.monitor, load, probes, self.server_url, is_draining_known, self.process_loop.wake, bell.ring
            )
            self.loops.append(Loop("bell", bell.wait, BELL_WAIT_SECONDS))
            self.on_demand_loop = Loop("on demand", self.on_demand.run_round, ON_DEMAND_INTERVAL_SECONDS)
            self.loops.append(self.on_demand_loop)
        effects[Action.REPORT] = self._report
        effects[Action.CHECK_ENGINE] = self.engine_loop.wake
        effects[Action.DEREGISTER] = self.registrar.deregister
        hosts = local_machine.hosts(config.allowed_hosts, config.host, is_loopback(config.bind_host))
        app = create_app(
            self.monitor,
            self.registrar,
            self.hang_probe,
            self.limits,
            self.continuation,
            hosts=hosts,
            on_demand=self.on_demand,
            begin_round=self._begin_on_demand_round,
            key=lambda: engine.key,
            gpu_reporter=reporter,
        )
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
        if self.config.on_demand and not self.supervised:
            log.warning("%s: on_demand has no effect: %s", self.config.name, UNSUPERVISED)
        for loop in self.loops:
            loop.start()

    def end(self, deregister: bool = True) -> None:
        """End this babysitter: remove both registrations (unless `deregister` is false), end loops and HTTP server.

        If supervisord has ended, end the instance first.
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

    def _poll_process(self) -> float | None:
        if self.is_orphaned():  # in case the parent-death signal did not reach this process
            self.stopping.set()
            return None
        self.monitor.poll_process()
        if self.registrar.outdated:
            self.heartbeat_loop.wake()
        if not self.engine_checked.is_set():
            self.engine_loop.wake()
        is_ending = self.config.on_demand and self.monitor.snapshot.state is LifecycleState.DRAINING
        return ENDING_INTERVAL_SECONDS if is_ending else None  # shorter, because another instance may wait for its GPU

    def _report(self) -> None:
        """Have the registry and supervisord's extension learn the new state at once."""
        self.heartbeat_loop.wake()
        self._begin_on_demand_round()

    def _begin_on_demand_round(self) -> None:
        if self.on_demand_loop is not None:
            self.on_demand_loop.wake()

    def _is_draining_known(self) -> bool:
        return self.registrar.accepted_status(instance_service(self.config.name)) == "draining"

    def _check_engine(self) -> float | None:
        polled = self.monitor.snapshot.state is not LifecycleState.UNSEEN
        self.monitor.check_engine()
        if polled:
            self.engine_checked.set()
        is_awaited = self.config.on_demand and self.monitor.snapshot.state is LifecycleState.STARTING
        return WAKING_INTERVAL_SECONDS if is_awaited else None  # requests wait for an instance on demand

    def _send_heartbeat(self) -> float:
        # Wait, because a babysitter that was killed and restarted must not report a running instance as `starting`.
        self.engine_checked.wait(FIRST_CHECK_TIMEOUT_SECONDS)
        self.registration_host.refresh()
        self.registrar.run_round()
        self.restart_reporter.run_round(self.monitor.snapshot.process)
        if self.on_demand:
            self.on_demand.history.report(self.event_sender)
        return self.registrar.pause()

    def _send_load(self, load: InstanceLoad) -> bool | None:
        if not self.registrar.registered:
            return None
        return self.load_sender.send(instance_service(self.config.name), load)

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
