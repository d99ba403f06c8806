"""Facts of a healthy site (a registry, a router, two instances), and of sites that differ from it."""

import dataclasses
from pathlib import Path
from typing import Any

from svc.config.instance.model import InstanceConfig, MockBackend
from svc.config.settings_file import load_settings
from svc.doctor.checks import all_checks
from svc.doctor.facts import (
    Facts,
    HostName,
    InstanceProbe,
    PortHolder,
    RegistryFacts,
    RouterFacts,
    SupervisordFacts,
)
from svc.doctor.findings import Finding, ordered
from svc.doctor.http_result import HttpResult
from svc.site.components import Component
from svc.supervision.client import Process, Restarts

NOW = 1_000_000.0
REGISTRY, ROUTER = "http://127.0.0.1:18000", "http://127.0.0.1:8000"
COMPONENTS = (
    Component("registry", "registry", "127.0.0.1", (18000,), ("registry",)),
    Component("router", "router", "127.0.0.1", (8000,), ("router",), "http://localhost:18000"),
    Component(
        "a",
        "babysitter",
        "localhost",
        (8100, 8101),
        ("a:server", "a:babysitter"),
        "http://localhost:18000",
        "../config/a.toml",
    ),
    Component(
        "b",
        "babysitter",
        "localhost",
        (8110, 8111),
        ("b:server", "b:babysitter"),
        "http://localhost:18000",
        "../config/b.toml",
    ),
)


def answer(body: Any = None, status: int = 200, **more: Any) -> HttpResult:
    return HttpResult("http://x", status, body if body is not None else {}, clock_ahead=0.0, version="1+x", **more)


GONE = HttpResult("http://x", error="connection refused: nothing listens there")


def process(name: str, state: str = "RUNNING", age: int = 100, **more: Any) -> Process:
    group, _, program = name.partition(":")
    fields = {
        "pid": 7,
        "start": int(NOW) - age,
        "stop": int(NOW) - 9,
        "now": int(NOW),
        "exitstatus": 0,
        "spawnerr": "",
        "description": "",
        "logfile": "",
    }
    return Process(name=program or group, group=group, state=state, **{**fields, **more})


def service(name: str, port: int, models: tuple[str, ...] = ("m",), **more: Any) -> dict[str, Any]:
    """Return an instance as the registry lists it."""
    return {
        "name": f"{name}-server",
        "host": "localhost",
        "port": port,
        "hostname": "here",
        "url": f"http://localhost:{port}",
        "status": "running",
        "is_healthy": True,
        "drained": False,
        "health_status": "healthy",
        "last_heartbeat": NOW - 1,
        "metadata": {"type": "openai-api", "models": list(models), "parent_service": name},
        **more,
    }


def routed(name: str, port: int, models: tuple[str, ...] = ("m",), **more: Any) -> dict[str, Any]:
    """Return an instance as the router lists it."""
    return {
        "name": f"{name}-server",
        "host": "localhost",
        "port": port,
        "url": f"http://localhost:{port}",
        "healthy": True,
        "status": "running",
        "ejected": False,
        "models": list(models),
        "request_count": 0,
        "error_count": 0,
        "babysitter_url": f"http://localhost:{port + 1}",
        **more,
    }


def config(name: str, port: int, **more: Any) -> InstanceConfig:
    fields = {
        "host": "localhost",
        "registry_urls": ("http://localhost:18000",),
        "router_url": "",
        "token_file": "",
        "max_restarts": 10,
        "restart_delay": 1.0,
        "heartbeat_interval": 30.0,
        "backend": MockBackend(models=("m",)),
        "metadata": {},
        "source": Path(f"config/{name}.toml"),
    }
    known = {field.name for field in dataclasses.fields(InstanceConfig)}
    defaults = {
        f.name: f.default
        for f in dataclasses.fields(InstanceConfig)
        if f.default is not dataclasses.MISSING and f.name in known
    }
    return InstanceConfig(name=name, port=port, **{**defaults, **fields, **more})


def registry(services: list[dict[str, Any]] | None = None, **more: Any) -> RegistryFacts:
    entries = [service("a", 8100), service("b", 8110)] if services is None else services
    healthy = RegistryFacts(
        REGISTRY,
        True,
        answer({"registry": "running", "status": "healthy"}),
        answer({"services": entries}),
        {"": answer({}, 400)},
    )
    return dataclasses.replace(healthy, **more)


def router(services: list[dict[str, Any]] | None = None, **more: Any) -> RouterFacts:
    entries = [routed("a", 8100), routed("b", 8110)] if services is None else services
    health = {"router": "running", "table_source": "registry", "table_age_seconds": 1.0}
    healthy = RouterFacts(
        ROUTER, True, answer(health), answer({"status": "ready"}), answer({"services": entries}), answer({}, text="")
    )
    return dataclasses.replace(healthy, **more)


def sidecar(name: str, **info: Any) -> InstanceProbe:
    fields = {"name": name, "registered": True, "last_heartbeat": NOW - 1, **info}
    return InstanceProbe(answer(fields), answer({}), answer({"data": [{"id": "m"}]}))


def supervisor(**more: Any) -> SupervisordFacts:
    programs = [program for component in COMPONENTS for program in component.programs]
    healthy = SupervisordFacts(
        1,
        processes={p: process(p) for p in programs},
        restarts={p: Restarts(0, 10, False) for p in programs},
        version="4.3.0",
        svc_version="1+x",
    )
    return dataclasses.replace(healthy, **more)


def states(**named: str | Process) -> SupervisordFacts:
    """Return a healthy supervisord, except for the states of these programs; `a_server` is a:server."""
    healthy = supervisor()
    changed = {
        (key := name.replace("_", ":")): state if isinstance(state, Process) else process(key, state)
        for name, state in named.items()
    }
    return dataclasses.replace(healthy, processes={**healthy.processes, **changed})


def facts(**more: Any) -> Facts:
    """Return the facts of a healthy site, except for those that are given."""
    healthy = Facts(
        now=NOW,
        settings=load_settings(),
        supervisord=supervisor(),
        components=COMPONENTS,
        configs={"a": config("a", 8100), "b": config("b", 8110)},
        listeners={
            port: PortHolder(7, "svc", program)
            for component in COMPONENTS
            for port, program in zip(component.ports, component.programs, strict=True)
        },
        registries=[registry()],
        instance_probes={"a": sidecar("a"), "b": sidecar("b")},
        router=router(),
        host_names={"localhost": HostName("localhost", ("127.0.0.1",))},
        svc_version="1+x",
    )
    return dataclasses.replace(healthy, **more)


def findings(**more: Any) -> dict[str, Finding]:
    """Return the findings of all checks, by key."""
    return {finding.key: finding for finding in all_checks.findings(facts(**more))}


def roots(**more: Any) -> list[str]:
    """Return the keys of the findings that are no consequence of another one."""
    return [node.finding.key for node in ordered(all_checks.findings(facts(**more)))]
