"""The facts that the doctor collects. They are plain values, so that a check can be tested without a site."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from svc.config.instance.model import InstanceConfig
from svc.doctor.http_result import HttpResult
from svc.doctor.machine_gpus import Gpus
from svc.settings import Settings
from svc.site.components import Component
from svc.site.systemd_unit import SystemdUnit
from svc.supervision.client import Process, Restarts
from svc.supervision.log_position import LogPosition, is_log_file


@dataclasses.dataclass(frozen=True, slots=True)
class SiteFiles:
    """The state of config/ and conf.d/."""

    errors: Sequence[str] = ()  # lines in the format of `svc check`
    stale: Sequence[str] = ()  # rendered files that differ from config/, as "PATH: new|changed|gone"
    present: bool = True  # False if the directory contains nothing to run
    runs_from_var: bool = False  # whether supervisord runs from var/
    in_foreground: bool = False  # whether `svc up --foreground` runs the site from var/, as a container does


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordFacts:
    """The state of supervisord and its programs. `problem` is the reason why a running supervisord does not answer."""

    pid: int | None = None
    problem: str = ""
    socket_owner: str = ""  # the owner of the socket if the current user has no access to it, else ""
    processes: Mapping[str, Process] = dataclasses.field(default_factory=dict)
    restarts: Mapping[str, Restarts] = dataclasses.field(default_factory=dict)
    log_positions: Mapping[str, Sequence[LogPosition]] = dataclasses.field(default_factory=dict)
    router_keys_file: str | None = None  # the running router's file of API keys; "": it requires none; None: unknown
    has_extension: bool = True  # whether svc's extension is loaded
    version: str = ""  # the version of supervisor
    svc_version: str = ""  # the version of svc that supervisord has loaded; "": unknown
    python: str = ""  # the directory of supervisord's Python if this command uses a different one
    pid_without_socket: int | None = None  # pid of a running supervisord whose socket is missing
    is_late: bool = False  # whether the problem is that it does not answer in time
    age_seconds: float | None = None  # time since the start of a supervisord that does not answer; None: unknown
    stopped_pid: int | None = None  # pid of a supervisord that a signal (SIGSTOP) has stopped
    ending_pid: int | None = None  # pid of a supervisord that is shutting down
    last_error: str = ""  # the last error in the log of a supervisord that does not run

    @property
    def any_pid(self) -> int | None:
        """The pid of the running supervisord, whether it answers or not; None if no supervisord runs."""
        return self.pid or self.pid_without_socket or self.stopped_pid or self.ending_pid


@dataclasses.dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port."""

    pid: int  # 0: /proc does not show the process
    command: str
    program: str = ""  # the name of the program, if this site's supervisord started the process
    is_leftover: bool = False  # whether an earlier supervisord of this site started the process
    addresses: Sequence[str] = ()
    site: str = ""  # the root of the site to which the process belongs, if that is another site
    stop_command: str = ""  # the command that stops that site


@dataclasses.dataclass(frozen=True, slots=True)
class Poisoning:
    """A registry's event `poisoned`: a request killed the instance `service` after it had killed another instance."""

    time: float  # Unix seconds
    service: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryFacts:
    """The facts of the registry at one URL. `is_local` means that this site runs it."""

    url: str
    is_local: bool
    health: HttpResult
    listing: HttpResult
    writes: Mapping[str, HttpResult] = dataclasses.field(default_factory=dict)  # token file -> response to a test write
    checks: Mapping[str, HttpResult] = dataclasses.field(default_factory=dict)  # service -> health check's response
    poisonings: Sequence[Poisoning] = ()  # oldest first

    def services(self) -> dict[str, dict[str, Any]]:
        """Return a dict from name to entry in the registry's list, without entries that lack a required field."""
        return {
            s["name"]: {"drained": False, **s}  # the original's registry has no drains
            for s in _objects(self.listing.get("services"))
            if {"name", "host", "port", "status", "is_healthy"} <= s.keys()
        }


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceProbe:
    """The responses of a babysitter and its instance to direct requests."""

    info: HttpResult
    health: HttpResult
    models: HttpResult  # the response of the instance's /v1/models
    models_from_outside: HttpResult | None = None  # the response at the registered address; None if that is loopback
    inference: HttpResult | None = None  # the response to a GET of an inference path with the router's key
    router_key: bool = False  # whether upstream_keys_file has a key for the instance


@dataclasses.dataclass(frozen=True, slots=True)
class RouterFacts:
    url: str
    is_local: bool
    health: HttpResult
    ready: HttpResult
    services: HttpResult
    metrics: HttpResult
    connect_errors: Mapping[str, str] = dataclasses.field(default_factory=dict)  # instance -> error, "" if it connected

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return a dict from name to entry in the router's list of instances."""
        return {s["name"]: s for s in _objects(self.services.get("services")) if "name" in s}


# The kinds of files with secrets.
TOKEN, ENGINE_KEY, UPSTREAM_KEYS, API_KEYS = "token", "engine key", "upstream keys", "API keys"


@dataclasses.dataclass(frozen=True, slots=True)
class SecretFileFacts:
    """The facts of a file with a token, a password or a key. `setting` is the name of the setting with the path."""

    path: str
    setting: str
    problem: str = ""  # why the file cannot be read
    missing: bool = False
    mode: int = 0o600
    word_count: int = 1  # a valid token is one word
    kind: str = TOKEN
    errors: Sequence[str] = ()  # errors in a file of keys
    reader_gid: int | None = None  # the site's programs' group, if they can read the file only because all users can
    closed_directory: str = ""  # the topmost directory of the path that is closed to this user; "" if none is
    owner_uid: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Disk:
    """The free space of a directory's file system."""

    path: str
    free: int = 1 << 40  # free bytes
    size: int = 1 << 41
    inodes: float = 1.0  # the free share of inodes
    writable: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class OpenFiles:
    """The number of files that a program has open, and its limit."""

    program: str
    used: int
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class HostName:
    """The result of resolving a host name on this machine."""

    host: str
    addresses: Sequence[str] = ()
    is_local: bool = True  # whether one of the addresses is this machine's
    problem: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    pid: int
    command: str


@dataclasses.dataclass(frozen=True, slots=True)
class PackageProblem:
    """A package that is missing or has an unsuitable version. `pip install` with `requirement` cures the problem."""

    problem: str
    requirement: str


@dataclasses.dataclass(frozen=True, slots=True)
class UnfinishedRollout:
    """A rollout that is running or was interrupted. `command` finishes an interrupted rollout."""

    command: str
    drained: Sequence[str] = ()  # services that the rollout has drained
    begun: Sequence[str] = ()  # instances that the rollout has stopped
    at_work: str = ""  # the text in the lock file; "" if the rollout was interrupted


@dataclasses.dataclass(frozen=True, slots=True)
class Uncollected:
    """A fact that could not be collected."""

    subject: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """All facts of a site. `components` come from the files that supervisord reads."""

    now: float = 0.0
    settings: Settings | None = None
    files: SiteFiles = SiteFiles()
    supervisord: SupervisordFacts = SupervisordFacts()
    unit: SystemdUnit | None = None  # the systemd unit that runs the site, or would start it
    unused_unit: SystemdUnit | None = None  # the site's unit, if supervisord does not run as part of it
    components: Sequence[Component] = ()
    configs: Mapping[str, InstanceConfig] = dataclasses.field(default_factory=dict)
    pending_changes: Sequence[str] = ()  # how running groups differ from the rendered files, as "NAME: KEYS"
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)  # instance -> digest of its TOML
    # Program -> last lines in its log from its latest process (`logs`) or from the process before (`earlier_logs`).
    logs: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    earlier_logs: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    last_exits: Mapping[str, str] = dataclasses.field(default_factory=dict)  # program -> how it last ended
    listeners: Mapping[int, PortHolder] = dataclasses.field(default_factory=dict)
    registries: Sequence[RegistryFacts] = ()
    instance_probes: Mapping[str, InstanceProbe] = dataclasses.field(default_factory=dict)  # instance -> responses
    router: RouterFacts | None = None
    secrets: Sequence[SecretFileFacts] = ()
    disks: Sequence[Disk] = ()
    open_files: Sequence[OpenFiles] = ()
    gpus: Gpus = Gpus()
    host_names: Mapping[str, HostName] = dataclasses.field(default_factory=dict)
    leftovers: Sequence[Leftover] = ()
    rollout: UnfinishedRollout | None = None
    svc_version: str = ""  # the version of the installed svc, with a digest of its code
    package_problems: Sequence[PackageProblem] = ()
    pip: str = "pip"  # the command that runs pip on svc's own environment
    other_owner: str = ""  # the owner of the site if that is another user; empty for root, who may do everything
    sudo: str = "sudo "  # prefix of a command that needs root; "" if this user is root
    uncollected: Sequence[Uncollected] = ()
    model: str = ""  # the model from the command line

    @property
    def instances(self) -> list[Component]:
        return [component for component in self.components if component.kind == "babysitter"]

    def component(self, kind: str) -> Component | None:
        return next((component for component in self.components if component.kind == kind), None)

    def state(self, program: str) -> str:
        """Return the state of a program in supervisord, or an empty text if supervisord has no such program."""
        process = self.supervisord.processes.get(program)
        return process.state if process else ""

    def log_of_last_exit(self, program: str) -> Sequence[str]:
        """Return the last log lines of a program's most recently ended process."""
        alive = self.state(program) in ("STARTING", "RUNNING")
        return self.earlier_logs.get(program, self.logs.get(program, ())) if alive else self.logs.get(program, ())

    def log_name(self, program: str) -> str:
        """Return the text for the place of a program's output: its log, or `docker logs` if it writes to stdout."""
        process = self.supervisord.processes.get(program)
        return "its log" if process is None or is_log_file(process.logfile) else "`docker logs`"

    def uptime(self, program: str) -> int:
        """Return the seconds since the start of a running program, or 0 for a program that does not run."""
        process = self.supervisord.processes.get(program)
        return process.now - process.start if process and process.state == "RUNNING" else 0

    def listing_registry(self) -> RegistryFacts | None:
        """Return the first registry that lists its services, or None."""
        return next((registry for registry in self.registries if registry.listing.ok), None)

    def registered_services(self) -> dict[str, dict[str, Any]]:
        """Return a dict from name to entry in the list of `listing_registry`."""
        registry = self.listing_registry()
        return registry.services() if registry else {}


def _objects(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
