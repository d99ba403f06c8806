"""The components of a site (registry, router and instances), parsed from the files in supervisord's conf.d."""

import configparser
import dataclasses
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from svc.base.address import authority, host_port, is_wildcard, local_host, split_urls
from svc.base.errors import CommandError
from svc.protocol.instance_names import babysitter_program, instance_service, server_program
from svc.render.files import MADE_BY, source_of

TO_ROOT = re.compile(r"^(\.\./)+")  # leads from conf.d/ or var/conf.d/ to the site's root


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """A component of a site: the registry, the router, or an instance with its babysitter."""

    name: str
    kind: str  # "registry", "router" or "babysitter"; the last one means an instance together with its babysitter
    host: str  # the address at which other machines reach the component
    ports: tuple[int, ...]  # for an instance: the server's port and the babysitter's port
    programs: tuple[str, ...]  # full names as in supervisorctl, GROUP:NAME or NAME
    registry_url: str = ""  # comma-separated URLs of its registries; "" if the file has none
    source: str = ""  # an instance's TOML file, relative to the directory of the rendered file
    certfile: str = ""  # certificate for TLS, relative to the site's root; "": no TLS
    token_file: str = ""  # file with the router's token for the registry, relative to the site's root
    on_demand: bool = False  # whether an instance sleeps until a request needs it, so that supervisord may not run it

    @property
    def toml(self) -> str:
        """The TOML file of an instance, relative to the site's root; absolute if it is outside of the site."""
        return TO_ROOT.sub("", self.source)

    @property
    def server_program(self) -> str:
        """The full name of an instance's server program."""
        return server_program(self.name)

    @property
    def babysitter_program(self) -> str:
        """The full name of an instance's babysitter program."""
        return babysitter_program(self.name)

    @property
    def service_name(self) -> str:
        """The name under which an instance is registered; its babysitter is registered under `name`."""
        return instance_service(self.name)

    @property
    def url(self) -> str:
        """The URL at which other machines reach the component; for an instance on a wildcard address, the local URL."""
        is_own = self.kind == "babysitter" and is_wildcard(self.host)
        return f"http://{authority(self._own_host if is_own else self.host, self.ports[0])}"

    @property
    def own_url(self) -> str:
        """The URL at which this machine reaches the component: on loopback, or on the address on which it listens."""
        return f"{'https' if self.certfile else 'http'}://{authority(self._own_host, self.ports[0])}"

    @property
    def _own_host(self) -> str:
        if self.kind == "babysitter":
            return local_host(self.host)
        return {"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def health_url(self) -> str:
        """The URL that returns 200 if the component is ready for use."""
        if self.kind == "babysitter":
            return f"{self.babysitter_url}/health"
        return self.own_url + ("/readyz" if self.kind == "router" else "/health")

    @property
    def babysitter_url(self) -> str:
        """The URL at which this machine reaches the babysitter of an instance."""
        return f"http://{authority(self._own_host, self.ports[1])}"

    @property
    def listens_on_ipv6(self) -> bool:
        """Whether the component listens on an IPv6 address."""
        return ":" in self._own_host

    def address_of(self, program: str) -> str:
        """Return the address at which one of the component's programs listens."""
        return authority(self.host, self.ports[1 if program == self.babysitter_program else 0])


def read_components(directory: Path) -> list[Component]:
    """Return the components in a conf.d directory: registry and router first, then the instances."""
    return parse_components({path: path.read_text(encoding="utf-8") for path in rendered_files(directory)})


def rendered_files(directory: Path) -> list[Path]:
    """Return the files in a conf.d directory that svc rendered."""
    return sorted(path for path in directory.glob("*.conf") if source_of(path) is not None)


def foreign_files(directory: Path) -> list[Path]:
    """Return the files in a conf.d directory that svc did not render."""
    return sorted(path for path in directory.glob("*.conf") if source_of(path) is None)


def parse_components(texts: Mapping[Path, str]) -> list[Component]:
    """Return the components in rendered files; raise CommandError for a file that lacks what svc always renders."""
    components = [_component(path, text) for path, text in texts.items()]
    order = {"registry": 0, "router": 1}
    return sorted(components, key=lambda component: (order.get(component.kind, 2), component.name))


def keys_file_of(command: str) -> str:
    """Return the file of API keys in a router's command, relative to the site's root; "" if there is none."""
    return _flags(command).get("--keys-file", "")


def find_router(components: Iterable[Component]) -> Component | None:
    """Return the router of a site, or None if the site has none."""
    return next((component for component in components if component.kind == "router"), None)


def shares_registry(router: Component, instance: Component) -> bool:
    """Return whether router and instance share a registry URL; also True if one of them has no registry URL."""
    if not instance.registry_url or not router.registry_url:
        return True
    of_router, of_instance = (set(map(host_port, split_urls(c.registry_url))) for c in (router, instance))
    return not of_router.isdisjoint(of_instance)


def _component(path: Path, text: str) -> Component:
    # The same options as in supervisord's parser. % is not expanded, because the values that are read contain no %.
    ini = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    ini.read_string(text)
    try:
        if ini.has_section("program:registry"):
            flags = _flags(ini["program:registry"]["command"])
            return Component("registry", "registry", flags["--host"], (int(flags["--port"]),), ("registry",))
        if ini.has_section("fcgi-program:router"):
            flags = _flags(ini["fcgi-program:router"]["command"])
            host, _, digits = ini["fcgi-program:router"]["socket"].removeprefix("tcp://").rpartition(":")
            return Component(
                "router",
                "router",
                host,
                (int(digits),),
                ("router",),
                flags.get("--registry-url", ""),
                certfile=flags.get("--certfile", ""),
                token_file=flags.get("--registry-token-file", ""),
            )
        name = next(section for section in ini.sections() if section.startswith("group:")).removeprefix("group:")
        server = ini[f"program:{instance_service(name)}"]
        shim = _flags(server["command"], shim=True)
        flags = _flags(ini[f"program:{name}-babysitter"]["command"])
    except (KeyError, ValueError, StopIteration):
        raise CommandError(f"{path}: not as svc render writes it; run svc render") from None
    port = int(shim["--port"])
    programs = (server_program(name), babysitter_program(name))
    source = text.partition("\n")[0].removeprefix(MADE_BY)
    return Component(
        name,
        "babysitter",
        flags["--host"],
        (port, port + 1),
        programs,
        flags.get("--registry-url", ""),
        source,
        on_demand=server.get("autostart") == "false",
    )


def _flags(command: str, shim: bool = False) -> dict[str, str]:
    """Return a dict from flags to values in a program's command, `svc launch FLAGS -- COMMAND FLAGS`.

    With `shim`, return the flags of `svc launch`, else the flags of COMMAND.
    """
    arguments: Sequence[str] = shlex.split(command)
    end = arguments.index("--")
    arguments = arguments[:end] if shim else arguments[end + 1 :]
    pairs = zip(arguments, arguments[1:], strict=False)
    return {flag: argument for flag, argument in pairs if flag.startswith("--")}
