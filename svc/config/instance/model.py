"""One babysitter TOML as frozen types: the instance, and the command of each type of backend."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from svc.base.address import authority, bind_host

DEFAULT_HEALTH_PATH = "/health"  # of vLLM, SGLang, llama.cpp, TGI and InfiniLM


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What every type has. `args` follow the type's own words, each one argument as it stands."""

    type: ClassVar[str]
    key_variable: ClassVar[str] = ""  # from which the type's server takes its API key
    args: tuple[str, ...] = ()
    work_dir: str = ""  # empty: the site's root; a relative one is relative to it
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    api_key_file: str = ""  # holds the API key that the server wants; a relative path is relative to the site
    api_key_variable: str = ""  # from which the server takes it; empty: the type's, if it has one

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        """The instance's command, without `args`."""
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
    model_path: str
    launch_script: str = ""  # empty until it was looked up

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        server = ["python3", self.launch_script, "--port", str(config.port), "--host", config.bind_host]
        return [*server, "--model-path", self.model_path]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InfinilmRustBackend(Backend):
    type = "infinilm-rust"
    config_file: str

    def base_argv(self, config: "InstanceConfig") -> list[str]:
        return ["xtask", "service", self.config_file, "-p", str(config.port)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """One instance and its babysitter. Delays and intervals are seconds."""

    name: str
    host: str
    port: int
    registry_urls: tuple[str, ...]
    router_url: str
    token_file: str
    max_restarts: int
    restart_delay: float
    heartbeat_interval: float
    probe: str = "models"  # models | generate: what an instance must do to count as alive
    probe_interval: float = 30
    probe_timeout: float = 30
    probe_threshold: int = 3  # failures in a row
    startup_timeout: float = 0  # none
    max_memory: int = 0  # bytes; 0: no limit
    allowed_hosts: tuple[str, ...] = ()  # that requests to the babysitter may name, beside the machine's own
    health_path: str | None = None  # must answer 2xx; empty: no check; None: the default, which a server may not have
    backend: Backend
    metadata: dict[str, Any]
    source: Path

    @property
    def babysitter_port(self) -> int:
        return self.port + 1

    @property
    def bind_host(self) -> str:
        """The address that the instance and its babysitter listen on."""
        return bind_host(self.host)

    @property
    def url(self) -> str:
        return f"http://{authority(self.host, self.port)}"

    @property
    def health_endpoint(self) -> str:
        """The path of the engine's own health; empty: it is not asked."""
        return DEFAULT_HEALTH_PATH if self.health_path is None else self.health_path

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the TOML names; none: the engine lists them."""
        return tuple(self.metadata.get("models", ()))

    @property
    def argv(self) -> list[str]:
        return [*self.backend.base_argv(self), *self.backend.args]

    @property
    def env(self) -> dict[str, str]:
        return dict(self.backend.env)

    @property
    def api_key_variable(self) -> str:
        """The variable by which the instance gets its API key at its start; empty: it has none, or gets it itself."""
        return (self.backend.api_key_variable or self.backend.key_variable) if self.backend.api_key_file else ""

    @property
    def work_dir(self) -> str:
        return self.backend.work_dir
