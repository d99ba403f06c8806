"""The configuration of one instance, which comes from one babysitter TOML, and the command of each backend type."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from svc.base.address import authority, bind_host
from svc.protocol.resources import SLEEP_BY_STOP, Resources

NOT_IN_DIGEST = ("source", "host", "registry_urls", "registry_setting", "unused_registry_urls", "router_url", "backend")
DEFAULT_HEALTH_PATH = "/health"  # the path of vLLM, SGLang, llama.cpp, TGI and InfiniLM


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The settings that all types of backend share. `args` are appended unchanged to the type's own arguments."""

    type: ClassVar[str]
    key_variable: ClassVar[str] = ""  # the environment variable from which this type of server reads its API key
    path_keys: ClassVar[tuple[str, ...]] = ()  # keys whose value is a path of the model
    model_keys: ClassVar[tuple[str, ...]] = ()  # keys whose value is the model's path or its name at a hub
    args: tuple[str, ...] = ()
    work_dir: str = ""  # relative to the site's root; "" means the root itself
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    api_key_file: str = ""  # file with the API key that the server requires; relative to the site's root
    api_key_variable: str = ""  # variable from which the server reads the key; "" means `key_variable`

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        """Return the instance's command without `args`."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommandBackend(Backend):
    type = "command"
    command: tuple[str, ...]

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        return list(self.command)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VllmBackend(Backend):
    type = "vllm"
    key_variable = "VLLM_API_KEY"
    model_keys = ("model",)
    model: str

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        server = ["python3", "-m", "vllm.entrypoints.openai.api_server"]
        return [*server, "--model", self.model, "--port", str(config.port), "--host", config.bind_host]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MockBackend(Backend):
    type = "mock"
    key_variable = "SVC_MOCK_API_KEY"
    models: tuple[str, ...]

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        mock = ["svc", "mock", "--name", config.name, "--host", config.bind_host, "--port", str(config.port)]
        return [*mock, "--models", ",".join(self.models)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InfinilmBackend(Backend):
    type = "infinilm"
    path_keys = ("model_path",)
    model_path: str
    launch_script: str = ""  # if not in the TOML, `svc.config.instance.load` finds it

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        server = ["python3", self.launch_script, "--port", str(config.port), "--host", config.bind_host]
        return [*server, "--model-path", self.model_path]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InfinilmRustBackend(Backend):
    type = "infinilm-rust"
    path_keys = ("config_file",)
    config_file: str

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        return ["xtask", "service", self.config_file, "-p", str(config.port)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """An instance and its babysitter. Delays and intervals are seconds."""

    name: str
    host: str
    port: int
    registry_urls: tuple[str, ...]  # tried in this order; the first registry that answers is used
    router_url: str
    token_file: str
    max_restarts: int
    restart_delay: float
    heartbeat_interval: float
    probe: str = "models"  # models | generate: the request that an instance must answer to count as alive
    probe_interval: float = 30
    probe_timeout: float = 30
    probe_threshold: int = 3  # number of consecutive failures before a restart
    load_interval: float = 2  # time between two reports of the engine's load; 0: no reports
    continuation_probe: bool = True  # whether to find out if the engine continues the beginning of an answer
    startup_timeout: float = 0  # 0: no limit
    max_memory: int = 0  # bytes; 0: no limit
    resources: Resources = Resources()
    on_demand: bool = False  # whether the instance sleeps until a request needs it
    idle_after: float = 900  # the instance is put to sleep after so long without requests; 0: never
    min_awake: float = 60  # for so long after its wake, the instance does not make room for others
    wake_timeout: float = 600  # a request waits at most so long for the instance to wake
    sleep: str = SLEEP_BY_STOP  # stop | vllm: how the instance is put to sleep
    keep: bool = False  # once awake, it neither makes room for others nor sleeps because it is idle
    registry_setting: str = ""  # setting under [launch] from which `registry_urls` comes; "": TOML or default
    unused_registry_urls: tuple[str, ...] = ()  # those in the TOML, if `registry_setting` replaces them
    allowed_hosts: tuple[str, ...] = ()  # allowed in the Host header, besides this machine's hosts
    health_path: str | None = None  # path that must return 2xx; "": none; None: DEFAULT_HEALTH_PATH if it exists
    backend: Backend
    metadata: dict[str, Any]
    source: Path

    @property
    def babysitter_port(self) -> int:
        """The port that the babysitter listens on."""
        return self.port + 1

    @property
    def bind_host(self) -> str:
        """The address that the instance and its babysitter listen on."""
        return bind_host(self.host)

    @property
    def url(self) -> str:
        """The URL of the instance."""
        return f"http://{authority(self.host, self.port)}"

    @property
    def health_endpoint(self) -> str:
        """The path of the engine's own health check; empty: no check."""
        return DEFAULT_HEALTH_PATH if self.health_path is None else self.health_path

    @property
    def models(self) -> tuple[str, ...]:
        """The models in the TOML's metadata; empty if the engine's own list is used."""
        return tuple(self.metadata.get("models", ()))

    @property
    def argv(self) -> list[str]:
        """The instance's whole command."""
        return [*self.backend.base_argv(self), *self.backend.args]

    @property
    def env(self) -> dict[str, str]:
        """The instance's own environment variables."""
        return dict(self.backend.env)

    @property
    def api_key_variable(self) -> str:
        """The variable that passes the API key to the instance; empty if the instance gets no key in a variable."""
        return (self.backend.api_key_variable or self.backend.key_variable) if self.backend.api_key_file else ""

    @property
    def work_dir(self) -> str:
        """The instance's working directory as written in the TOML."""
        return self.backend.work_dir

    def digest(self) -> str:
        """Return a digest of the values that a babysitter reads, which shows whether it has loaded the current TOML.

        Two kinds of values are left out: those that only the instance's server uses, and those in the babysitter's
        command line, because `svc plan` compares command lines itself. Comments and the order of keys do not matter.
        """
        values: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in NOT_IN_DIGEST
        }
        values["resources"] = self.resources.to_json()
        values["type"] = self.backend.type
        if self.backend.api_key_file:
            values["api_key_file"] = self.backend.api_key_file
        # 5 and 5.0 have the same digest.
        values = {key: float(value) if isinstance(value, int) else value for key, value in values.items()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
