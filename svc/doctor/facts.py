"""The facts that the doctor collects: values only, so that a check can be tested without a site."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from svc.base.errors import message_of
from svc.config.instance.model import InstanceConfig
from svc.settings import Settings
from svc.site.components import Component
from svc.supervision.client import Process, Restarts


@dataclasses.dataclass(frozen=True, slots=True)
class HttpResult:
    """The response to one request, or why there is none."""

    url: str
    status: int = 0  # 0: no response
    body: Any = None  # arbitrary JSON
    text: str = ""
    error: str = ""  # why there is no response
    version: str = ""  # of the svc that responds
    clock_ahead: float | None = None  # seconds by which its clock is ahead of ours; None: unknown

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def problem(self) -> str:
        """What is wrong with the response, or why there is none."""
        if self.error:
            return self.error
        message = message_of(self.body)
        return f"it answers {self.status}{f': {message}' if message else ''}"

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field of a JSON object."""
        return self.body.get(key, default) if isinstance(self.body, dict) else default


@dataclasses.dataclass(frozen=True, slots=True)
class SiteFiles:
    """The state of config/ and conf.d/."""

    errors: Sequence[str] = ()  # a line each, as `svc check` prints them
    stale: Sequence[str] = ()  # rendered files that differ from config/, as "PATH: new|changed|gone"
    present: bool = True  # the directory has something to run
    runs_from_var: bool = False  # supervisord runs from var/, because of the environment or of single components


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordFacts:
    """What supervisord reports. `problem` says why it cannot be asked; it is empty when no supervisord runs."""

    pid: int | None = None
    problem: str = ""
    socket_owner: str = ""  # the user, where this one may not use the socket
    processes: Mapping[str, Process] = dataclasses.field(default_factory=dict)
    restarts: Mapping[str, Restarts] = dataclasses.field(default_factory=dict)
    has_extension: bool = True  # whether svc's extension is loaded
    version: str = ""  # of supervisor
    svc_version: str = ""  # empty: the extension reports none
    python: str = ""  # its directory, when supervisord runs in another environment than this command
    pid_without_socket: int | None = None  # of a supervisord that runs although its socket is gone
    last_error: str = ""  # in its log, when it does not run


@dataclasses.dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port."""

    pid: int  # 0: /proc does not show it
    command: str
    program: str = ""  # the program of this site's supervisord that it belongs to
    is_leftover: bool = False  # started by an earlier supervisord of this site
    addresses: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryFacts:
    """One registry at one URL. `is_local`: this site runs it."""

    url: str
    is_local: bool
    health: HttpResult
    listing: HttpResult
    writes: Mapping[str, HttpResult] = dataclasses.field(default_factory=dict)  # by token file
    checks: Mapping[str, HttpResult] = dataclasses.field(default_factory=dict)  # of /services/NAME/health, by service

    def services(self) -> dict[str, dict[str, Any]]:
        """Return the services of the list by name, without entries that lack a field."""
        return {
            s["name"]: s
            for s in _objects(self.listing.get("services"))
            if {"name", "host", "port", "status", "is_healthy", "drained"} <= s.keys()
        }


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceProbe:
    """What a babysitter and its instance respond when they are asked directly."""

    info: HttpResult
    health: HttpResult
    models: HttpResult  # of the instance's /v1/models
    models_from_outside: HttpResult | None = None  # at the registered address; None: that is loopback
    inference: HttpResult | None = None  # of a GET of an inference path, with the router's key for it
    router_key: bool = False  # whether upstream_keys_file has a key for it


@dataclasses.dataclass(frozen=True, slots=True)
class RouterFacts:
    url: str
    is_local: bool
    health: HttpResult
    ready: HttpResult
    services: HttpResult
    metrics: HttpResult
    connect_errors: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by instance; empty: none

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the instances that the router lists, by name."""
        return {s["name"]: s for s in _objects(self.services.get("services")) if "name" in s}


# The kinds of files with secrets.
TOKEN, ENGINE_KEY, UPSTREAM_KEYS, API_KEYS = "token", "engine key", "upstream keys", "API keys"


@dataclasses.dataclass(frozen=True, slots=True)
class SecretFileFacts:
    """A file with a token, a password or a key; `setting` names it."""

    path: str
    setting: str
    problem: str = ""  # why it cannot be read
    missing: bool = False
    mode: int = 0o600
    word_count: int = 1  # a token has one
    kind: str = TOKEN
    errors: Sequence[str] = ()  # of a table of keys


@dataclasses.dataclass(frozen=True, slots=True)
class Disk:
    """The space of the file system under a directory."""

    path: str
    free: int = 1 << 40  # bytes
    size: int = 1 << 41
    inodes: float = 1.0  # the free share
    writable: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class OpenFiles:
    """How many files a program has open, and its limit."""

    program: str
    used: int
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class Gpus:
    """The indices of this machine's NVIDIA devices, and their UUIDs when nvidia-smi lists them."""

    indices: Sequence[int] = ()
    uuids: Sequence[str] = ()
    problem: str = ""  # the error of nvidia-smi


@dataclasses.dataclass(frozen=True, slots=True)
class HostName:
    """How this machine resolves a host's name."""

    host: str
    addresses: Sequence[str] = ()
    is_local: bool = True  # one of them is this machine's
    problem: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    pid: int
    command: str


@dataclasses.dataclass(frozen=True, slots=True)
class UnfinishedRollout:
    """A rollout at work, or an interrupted one, which `command` finishes."""

    command: str
    drained: Sequence[str] = ()  # services that it has drained
    begun: Sequence[str] = ()  # instances that it has stopped
    at_work: str = ""  # the text of its lock; empty: it was interrupted


@dataclasses.dataclass(frozen=True, slots=True)
class Uncollected:
    """A fact that could not be collected."""

    subject: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known of a site. `components` are those of the files that supervisord runs from."""

    now: float = 0.0
    settings: Settings | None = None
    files: SiteFiles = SiteFiles()
    supervisord: SupervisordFacts = SupervisordFacts()
    components: Sequence[Component] = ()
    configs: Mapping[str, InstanceConfig] = dataclasses.field(default_factory=dict)
    pending_changes: Sequence[str] = ()  # how running groups differ from the rendered files, as "NAME: KEYS"
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of the TOML files, by instance
    logs: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # their last lines, by program
    last_exits: Mapping[str, str] = dataclasses.field(default_factory=dict)  # how each program ended
    listeners: Mapping[int, PortHolder] = dataclasses.field(default_factory=dict)
    registries: Sequence[RegistryFacts] = ()
    instance_probes: Mapping[str, InstanceProbe] = dataclasses.field(default_factory=dict)  # by instance
    router: RouterFacts | None = None
    secrets: Sequence[SecretFileFacts] = ()
    disks: Sequence[Disk] = ()
    open_files: Sequence[OpenFiles] = ()
    gpus: Gpus = Gpus()
    host_names: Mapping[str, HostName] = dataclasses.field(default_factory=dict)
    leftovers: Sequence[Leftover] = ()
    rollout: UnfinishedRollout | None = None
    svc_version: str = ""  # of the installed svc, with a digest of its code
    package_problems: Sequence[str] = ()  # packages that are missing or too old
    uncollected: Sequence[Uncollected] = ()
    model: str = ""  # the model that the operator asks about

    @property
    def instances(self) -> list[Component]:
        return [component for component in self.components if component.kind == "babysitter"]

    def component(self, kind: str) -> Component | None:
        return next((component for component in self.components if component.kind == kind), None)

    def state(self, program: str) -> str:
        """Return supervisord's state of a program; empty when it has no such program."""
        process = self.supervisord.processes.get(program)
        return process.state if process else ""

    def uptime(self, program: str) -> int:
        """Return the seconds since a running program was started."""
        process = self.supervisord.processes.get(program)
        return process.now - process.start if process and process.state == "RUNNING" else 0

    def listing_registry(self) -> RegistryFacts | None:
        """Return the first registry that lists its services."""
        return next((registry for registry in self.registries if registry.listing.ok), None)

    def registered_services(self) -> dict[str, dict[str, Any]]:
        """Return the services that a registry lists, by name."""
        registry = self.listing_registry()
        return registry.services() if registry else {}


def _objects(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
