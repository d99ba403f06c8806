"""`bin/deploy_services.sh`, a script of the original: runs commands of svc with the settings in its JSON files."""

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from svc.base.address import is_loopback
from svc.base.errors import CommandError, ConfigError
from svc.cli.main import reported_errors
from svc.cli.options import HERE
from svc.cli.original.arguments import REGISTRY_PORT, ROUTER_PORT
from svc.cli.original.deployment import registry_environment, registry_url, router_environment, services_here
from svc.cli.original.program import prepare, run_as_svc
from svc.perimeter.local_machine import is_own_address

PROGRAM = "deploy_services.sh"
REGISTRY_FILE, ROUTER_FILE = "registry_config.json", "router_config.json"


class Deployment:
    """The directory of the JSON files, and the ports to use if the files contain none."""

    def __init__(self, directory: Path, registry_port: int, router_port: int) -> None:
        self.directory = directory
        self.registry_port = registry_port
        self.router_port = router_port

    def start_registry(self) -> None:
        config = self._read(REGISTRY_FILE) if (self.directory / REGISTRY_FILE).exists() else {}
        run("up", "--only", "registry", **registry_environment(config, self.registry_port))

    def start_router(self) -> None:
        path = str(self.directory / ROUTER_FILE)
        run("up", "--only", "router", **router_environment(self._read(ROUTER_FILE), self.router_port, path))

    def start_services(self) -> None:
        """Start config/NAME.toml for each service NAME that a *_services.json lists for this host."""
        files = {path.name: self._read(path.name) for path in self.directory.glob("*_services.json")}
        here = services_here(files, is_own_host)
        if not here:
            raise CommandError(
                f"{self.directory}: no *_services.json is for this host, {socket.gethostname()}; "
                "give its address as the host of the first service"
            )
        tomls = {name: (services, HERE.config / f"{name}.toml") for services in here for name in services.names}
        missing = [
            f"{path}: missing; {services.file} has {name} on this host: write its babysitter TOML (docs/BABYSITTER.md)"
            for name, (services, path) in tomls.items()
            if not path.is_file()
        ]
        if missing:
            raise ConfigError(*missing)
        url = registry_url(self._read(ROUTER_FILE)) if (self.directory / ROUTER_FILE).exists() else ""
        url = url or f"http://localhost:{self.registry_port}"
        paths = [str(path) for _, path in tomls.values()]
        run("up", "--only", "babysitter", *paths, REGISTRY_URL=url, BABYSITTER_HOST=here[0].host)

    def stop_all(self) -> None:
        run("down")

    def status(self) -> None:
        run("status")

    def generate_config(self) -> None:
        """Write nginx's files. If router_config.json names a registry, the instances come from its list.

        Otherwise they come from the site's own files.
        """
        url = registry_url(self._read(ROUTER_FILE)) if (self.directory / ROUTER_FILE).exists() else ""
        run("render", "--nginx", *(["--from-registry", "--registry-url", url] if url else []))

    def deploy_remote(self) -> None:
        raise CommandError(f"deploy-remote: not here; on each host, by SSH: ./bin/{PROGRAM} start-services")

    def _read(self, name: str) -> Mapping[str, Any]:
        path = self.directory / name
        try:
            config = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; write it, or name its directory with --config-dir") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: cannot read it: {error}; correct it") from None
        if not isinstance(config, dict):
            raise ConfigError(f"{path}: must be a JSON object; correct it")
        return config


COMMANDS: dict[str, Callable[[Deployment], None]] = {
    "start-registry": Deployment.start_registry,
    "start-router": Deployment.start_router,
    "start-services": Deployment.start_services,
    "stop-all": Deployment.stop_all,
    "status": Deployment.status,
    "generate-config": Deployment.generate_config,
    "deploy-remote": Deployment.deploy_remote,
}


def run(*arguments: str, **environ: str) -> None:
    """Run a command of svc with these environment variables. This process ends with the command."""
    for variable, value in environ.items():
        if "\0" in value:
            raise ConfigError(f"{variable}: a value of the JSON files contains the character NUL; correct it")
        os.environ[variable] = value
    run_as_svc(arguments)


def is_own_host(host: str) -> bool:
    """Return whether a host is this machine's name or address."""
    return host == socket.gethostname() or is_loopback(host) or is_own_address(host)


@click.command(PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config-dir",
    type=click.Path(path_type=Path),
    default=HERE.config / "deployment_configs",
    show_default=True,
    help="the directory of the JSON files, relative to the project's",
)
@click.option("-r", "--registry-port", type=int, default=REGISTRY_PORT, show_default=True, help="the registry's port")
@click.option("-p", "--router-port", type=int, default=ROUTER_PORT, show_default=True, help="the router's port")
@click.argument("name", metavar="COMMAND", type=click.Choice(list(COMMANDS)))
def command(config_dir: Path, registry_port: int, router_port: int, name: str) -> None:
    """Start or stop the parts of a site that the original's JSON files describe.

    COMMAND is start-registry, start-router, start-services, stop-all, status or generate-config.
    """
    COMMANDS[name](Deployment(config_dir, registry_port, router_port))


def main() -> None:
    """Run the command."""
    arguments = sys.argv[1:]
    prepare()
    with reported_errors():
        command(arguments, prog_name=PROGRAM)


if __name__ == "__main__":
    main()
