"""What the doctor has seen: values only, so that a check can be tried without a site."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from svc.base.errors import message_of
from svc.config.instance.model import InstanceConfig
from svc.settings import Settings
from svc.site.components import Component
from svc.supervision.client import Process, Restarts


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """To one GET, as far as there is one."""

    url: str
    status: int = 0  # 0: there is none
    body: Any = None  # of JSON
    text: str = ""
    error: str = ""  # why there is none, in words
    version: str = ""  # of the svc that answers
    ahead: float | None = None  # seconds that its clock is ahead of ours; None: it tells no time

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def told(self) -> str:
        """What came instead of what was wanted."""
        if self.error:
            return self.error
        said = message_of(self.body)
        return f"it answers {self.status}{f': {said}' if said else ''}"

    def get(self, key: str, default: Any = None) -> Any:
        """A field of a JSON object."""
        return self.body.get(key, default) if isinstance(self.body, dict) else default


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """What is in config/ and conf.d/."""

    wrong: Sequence[str] = ()  # errors, a line each, as `svc check` prints them
    stale: Sequence[str] = ()  # generated files that are not what the sources say, "PATH: new|changed|gone"
    present: bool = True  # there is something to run at all
    own: bool = False  # supervisord runs from var/, because of an environment or of single components


@dataclasses.dataclass(frozen=True, slots=True)
class Supervisor:
    """supervisord, and what it says. `trouble`: why it cannot be asked, "" when it can or nothing is there."""

    pid: int | None = None
    trouble: str = ""
    owner: str = ""  # of a socket that we may not use
    processes: Mapping[str, Process] = dataclasses.field(default_factory=dict)
    restarts: Mapping[str, Restarts] = dataclasses.field(default_factory=dict)
    extended: bool = True  # whether our extension is in it
    version: str = ""  # of supervisor
    code: str = ""  # of svc, "" where the extension tells none
    python: str = ""  # the directory of another environment that it is from, "" where it is ours
    lost: int | None = None  # pid of one that runs without its socket
    last_words: str = ""  # the last error in its log, of one that does not run


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Who listens on a port."""

    pid: int  # 0: /proc does not tell
    command: str
    program: str = ""  # one of this supervisord's, or what it started
    left: bool = False  # of an earlier supervisord of this site
    addresses: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Registry:
    """One registry at one URL; `here`: this site runs it."""

    url: str
    here: bool
    health: Answer
    listing: Answer
    writes: Mapping[str, Answer] = dataclasses.field(default_factory=dict)  # token file -> what a write is told
    checks: Mapping[str, Answer] = dataclasses.field(default_factory=dict)  # service -> /services/NAME/health

    def services(self) -> dict[str, dict[str, Any]]:
        """Those that are sound, by name."""
        told = self.listing.get("services")
        found = [s for s in told if isinstance(s, dict)] if isinstance(told, list) else []
        return {s["name"]: s for s in found if {"name", "host", "port", "status", "is_healthy", "drained"} <= s.keys()}


@dataclasses.dataclass(frozen=True, slots=True)
class Sidecar:
    """A babysitter, and its instance asked directly."""

    info: Answer
    health: Answer
    models: Answer  # of the instance: its /v1/models
    outside: Answer | None = None  # the same at the address that others have; None where that is loopback's
    inference: Answer | None = None  # a GET where it takes requests, with the router's key for it
    router_key: bool = False  # whether upstream_keys_file has a key for it


@dataclasses.dataclass(frozen=True, slots=True)
class Router:
    url: str
    here: bool
    health: Answer
    ready: Answer
    services: Answer
    metrics: Answer
    reached: Mapping[str, str] = dataclasses.field(default_factory=dict)  # instance -> why not, "" when it was

    def instances(self) -> dict[str, dict[str, Any]]:
        told = self.services.get("services")
        found = [s for s in told if isinstance(s, dict)] if isinstance(told, list) else []
        return {s["name"]: s for s in found if "name" in s}


# What a file with secrets holds.
TOKEN, ENGINE_KEY, UPSTREAM_KEYS, API_KEYS = "token", "engine key", "upstream keys", "API keys"


@dataclasses.dataclass(frozen=True, slots=True)
class Secret:
    """A file with a token, a password or a key; `use`: which setting names it."""

    path: str
    use: str
    trouble: str = ""  # why it cannot be read
    missing: bool = False
    mode: int = 0o600
    words: int = 1  # a token is one
    kind: str = TOKEN
    wrong: Sequence[str] = ()  # what is wrong with a table of keys


@dataclasses.dataclass(frozen=True, slots=True)
class Disk:
    """The file system under a directory."""

    path: str
    free: int = 1 << 40  # bytes
    size: int = 1 << 41
    inodes: float = 1.0  # share that is free
    writable: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Open:
    """The files that a program has open, of how many it may."""

    program: str
    used: int
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class Gpus:
    """What of GPUs this machine has: indices of NVIDIA's devices, and their UUIDs where nvidia-smi tells them."""

    indices: Sequence[int] = ()
    uuids: Sequence[str] = ()
    trouble: str = ""  # what nvidia-smi complains of


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """A host's name or address as this machine sees it."""

    host: str
    addresses: Sequence[str] = ()
    here: bool = True  # whether one of them is this machine's
    trouble: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    pid: int
    command: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """One that goes on (`busy` says whose), or ended in the middle; `words`: the command that finishes it."""

    words: str
    ours: Sequence[str] = ()  # the instances that it has drained
    begun: Sequence[str] = ()  # the components that it has stopped
    busy: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at, and why."""

    subject: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """Everything. `components` are what is to run, by the files that supervisord runs from."""

    now: float = 0.0
    settings: Settings | None = None
    files: Files = Files()
    supervisor: Supervisor = Supervisor()
    components: Sequence[Component] = ()
    configs: Mapping[str, InstanceConfig] = dataclasses.field(default_factory=dict)
    pending: Sequence[str] = ()  # what runs otherwise than the generated files say, "NAME: how"
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of what babysitters read, by name
    logs: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # their ends, by program
    deaths: Mapping[str, str] = dataclasses.field(default_factory=dict)  # how each ended last, as supervisord saw it
    listeners: Mapping[int, Holder] = dataclasses.field(default_factory=dict)
    registries: Sequence[Registry] = ()
    sidecars: Mapping[str, Sidecar] = dataclasses.field(default_factory=dict)  # by the component's name
    router: Router | None = None
    secrets: Sequence[Secret] = ()
    disks: Sequence[Disk] = ()
    open: Sequence[Open] = ()
    gpus: Gpus = Gpus()
    names: Mapping[str, Name] = dataclasses.field(default_factory=dict)
    leftovers: Sequence[Leftover] = ()
    rollout: Rollout | None = None
    code: str = ""  # the version of svc that is installed here, with what it is made of
    dependencies: Sequence[str] = ()  # what of the packages that svc needs is missing or too old
    unseen: Sequence[Unseen] = ()
    model: str = ""  # the one that is asked about

    @property
    def instances(self) -> list[Component]:
        return [component for component in self.components if component.kind == "babysitter"]

    def component(self, kind: str) -> Component | None:
        return next((component for component in self.components if component.kind == kind), None)

    def state(self, program: str) -> str:
        """supervisord's word for a program; "" where it has none."""
        process = self.supervisor.processes.get(program)
        return process.state if process else ""

    def uptime(self, program: str) -> int:
        """Seconds since a running program was started."""
        process = self.supervisor.processes.get(program)
        return process.now - process.start if process and process.state == "RUNNING" else 0

    def registry(self) -> Registry | None:
        """The first that lists its services."""
        return next((one for one in self.registries if one.listing.ok), None)

    def known(self) -> dict[str, dict[str, Any]]:
        """The services that a registry lists, by name."""
        one = self.registry()
        return one.services() if one else {}
