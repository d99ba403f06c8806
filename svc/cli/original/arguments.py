"""Translates command lines of infini-registry and infini-router into command lines of svc. Pure."""

from collections.abc import Mapping, Sequence

REGISTRY_PORT = 8081  # default ports of the original's programs; its launch scripts pass other ports, 18000 and 8000
ROUTER_PORT = 8080


def registry_arguments(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the arguments of `svc` for a command line of infini-registry. `svc registry` has all its flags."""
    has_port = bool(environ.get("REGISTRY_PORT"))
    return _arguments("registry", arguments, "--port", None if has_port else REGISTRY_PORT)


def router_arguments(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the arguments of `svc` for a command line of infini-router. `svc router` has all its flags."""
    has_port = bool(environ.get("ROUTER_PORT"))
    return _arguments("router", arguments, "--router-port", None if has_port else ROUTER_PORT)


def _arguments(command: str, arguments: Sequence[str], port_flag: str, default_port: int | None) -> list[str]:
    """Return the arguments of `svc`. The default port is added unless `arguments` contain a port."""
    if "--version" in arguments:
        return ["--version"]
    is_given = any(argument.partition("=")[0] in (port_flag, "--port") for argument in arguments)
    default = [] if is_given or default_port is None else [port_flag, str(default_port)]
    return [command, *arguments, *default]
