"""Checks for registries whose host name does not resolve, and for local instances whose host is another machine."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding


def check(facts: Facts) -> Iterator[Finding]:
    for registry in facts.registries:
        host = urlsplit(registry.url).hostname or ""
        name = facts.host_names.get(host)
        if name and name.problem:
            yield Finding(
                f"dns.{host}",
                PROBLEM,
                f"{host}: this machine cannot resolve that name",
                f"{registry.url} is the registry: {name.problem}",
                first_step="correct registry_url, or the name service (/etc/hosts)",
                fix=f"getent hosts {host}",
            )
    for component in facts.instances:
        name = facts.host_names.get(component.host)
        source = component.toml
        setting = f"{source}: host: {component.host!r}"
        if name and name.problem:
            yield Finding(
                f"host.{component.name}",
                WARNING,
                f"{setting} is a name that this machine cannot resolve",
                name.problem,
                first_step="give this machine's address",
                fix="hostname -I",
            )
        elif name and not name.is_local and not facts.files.in_foreground:
            # In a container, the address is usually that of its host, which publishes the ports.
            yield Finding(
                f"host.{component.name}",
                WARNING,
                f"{setting} is no address of this machine",
                f"it is {', '.join(name.addresses)}: registry and router will look for {component.name} there",
                first_step="give this machine's address, unless another one passes it on to here",
                fix="hostname -I",
            )
