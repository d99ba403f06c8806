"""The components of a site, read back from the files that supervisord runs from: what is in them is what runs."""

import configparser
import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from svc.base.address import authority, is_loopback, local_host
from svc.base.errors import CommandError
from svc.protocol.instance_names import babysitter_program, instance_service, server_program
from svc.render.files import MADE_BY, source_of


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """The registry, the router, or an instance with its babysitter; `ports` are those it listens on."""

    name: str
    kind: str  # registry, router or babysitter
    host: str  # the address that others reach it by
    ports: tuple[int, ...]
    programs: tuple[str, ...]  # as supervisorctl names them
    registry_url: str = ""  # the registry that it speaks to, where the file names one
    source: str = ""  # the TOML file that an instance was made from, as seen from the directory
    secure: bool = False  # whether it speaks TLS

    @property
    def server_program(self) -> str:
        """The name of an instance's server program, as supervisorctl writes it."""
        return server_program(self.name)

    @property
    def babysitter_program(self) -> str:
        """The name of an instance's babysitter program, as supervisorctl writes it."""
        return babysitter_program(self.name)

    @property
    def service_name(self) -> str:
        """The name that an instance is registered under; its babysitter is registered under `name`."""
        return instance_service(self.name)

    @property
    def url(self) -> str:
        return f"http://{authority(self.host, self.ports[0])}"

    @property
    def own_url(self) -> str:
        """How it is reached from this machine, all of whose components listen on loopback, or on one address."""
        return f"{'https' if self.secure else 'http'}://{authority(self._own_host, self.ports[0])}"

    @property
    def _own_host(self) -> str:
        if self.kind == "babysitter":
            return local_host(self.host)
        return {"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def health_url(self) -> str:
        """What answers 200 when it can be used."""
        if self.kind == "babysitter":
            return f"{self.babysitter_url}/health"
        return self.own_url + ("/readyz" if self.kind == "router" else "/health")

    @property
    def babysitter_url(self) -> str:
        """How the babysitter of an instance is reached from this machine."""
        return f"http://{authority(self._own_host, self.ports[1])}"

    @property
    def listens_on_ipv6(self) -> bool:
        return ":" in self._own_host

    def address_of(self, name: str) -> str:
        """Where one of its programs listens."""
        return authority(self.host, self.ports[1 if name == self.babysitter_program else 0])


def read_components(directory: Path) -> list[Component]:
    """The components of a conf.d: registry and router first, then the instances."""
    return parse_components({path: path.read_text(encoding="utf-8") for path in rendered_files(directory)})


def rendered_files(directory: Path) -> list[Path]:
    """The files of a conf.d that svc made."""
    return sorted(path for path in directory.glob("*.conf") if source_of(path) is not None)


def foreign_files(directory: Path) -> list[Path]:
    """The files in a conf.d that svc did not make."""
    return sorted(path for path in directory.glob("*.conf") if source_of(path) is None)


def parse_components(texts: Mapping[Path, str]) -> list[Component]:
    found = [_part(path, text) for path, text in texts.items()]
    order = {"registry": 0, "router": 1}
    return sorted(found, key=lambda component: (order.get(component.kind, 2), component.name))


def shares_registry(router: Component, instance: Component) -> bool:
    """Whether the two speak to one registry, as far as the words of the URLs tell."""
    asked = {_address(url) for url in router.registry_url.split(",")}
    return not instance.registry_url or not router.registry_url or _address(instance.registry_url) in asked


def _address(url: str) -> tuple[str, int | None]:
    components = urlsplit(url)
    host = components.hostname or ""
    return ("localhost" if is_loopback(host) else host, components.port)


def _part(path: Path, text: str) -> Component:
    # As supervisord reads it, but for %, which the words that are looked for have none of.
    ini = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    ini.read_string(text)
    try:
        if ini.has_section("program:registry"):
            told = _flags(ini["program:registry"]["command"])
            return Component("registry", "registry", told["--host"], (int(told["--port"]),), ("registry",))
        if ini.has_section("fcgi-program:router"):
            told = _flags(ini["fcgi-program:router"]["command"])
            host, _, digits = ini["fcgi-program:router"]["socket"].removeprefix("tcp://").rpartition(":")
            registry_url, secure = told.get("--registry-url", ""), "--certfile" in told
            return Component("router", "router", host, (int(digits),), ("router",), registry_url, secure=secure)
        name = next(section for section in ini.sections() if section.startswith("group:")).removeprefix("group:")
        shim = _flags(ini[f"program:{instance_service(name)}"]["command"], shim=True)
        told = _flags(ini[f"program:{name}-babysitter"]["command"])
    except (KeyError, ValueError, StopIteration):
        raise CommandError(f"{path}: not as svc render writes it; run svc render") from None
    port = int(shim["--port"])
    programs = (server_program(name), babysitter_program(name))
    source = text.partition("\n")[0].removeprefix(MADE_BY)
    return Component(
        name, "babysitter", told["--host"], (port, port + 1), programs, told.get("--registry-url", ""), source
    )


def _flags(command: str, shim: bool = False) -> dict[str, str]:
    """The words that follow a flag, in the shim's own words or in those of the command after it."""
    words: Sequence[str] = shlex.split(command)
    at = words.index("--")
    words = words[:at] if shim else words[at + 1 :]
    return {flag: word for flag, word in _pairs(words) if flag.startswith("--")}


def _pairs(words: Sequence[str]) -> Iterable[tuple[str, str]]:
    return zip(words, words[1:], strict=False)
