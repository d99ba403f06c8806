"""The machines of docs/DISTRIBUTED_DEPLOYMENT_README.md on a network of their own; the document's blocks make them."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import requests

from tests.documents.blocks import Block, blocks
from tests.documents.machine import Machine
from tests.integration.registry.hosts import Host, Network

DOCUMENT = Path("docs/DISTRIBUTED_DEPLOYMENT_README.md")
ADDRESSES = {
    "control": "10.0.0.1",
    "first": "10.0.0.11",
    "second": "10.0.0.12",
    "third": "10.0.0.13",
    "client": "10.0.0.100",
}
INSTANCES = ("first", "second", "third")
REGISTRY, ROUTER = "http://127.0.0.1:18000", "http://10.0.0.1:8000"
TOKEN = "etc/infinilm/token"


class Fleet:
    def __init__(self, place: Path, checkout: Path, stack: ExitStack) -> None:
        network = stack.enter_context(closing(Network(len(ADDRESSES), place, list(ADDRESSES.values()))))
        self.hosts: dict[str, Host] = dict(zip(ADDRESSES, network.hosts, strict=True))
        self.machines: dict[str, Machine] = {}
        for role in ("control", *INSTANCES):
            inside = ("nsenter", f"--net=/run/netns/{self.hosts[role].name}")
            self.machines[role] = stack.enter_context(closing(Machine(checkout, site="", inside=inside)))

    def walk(self, section: str, *roles: str) -> None:
        """Runs the section's blocks, each on those of these machines that it is for, these side by side."""
        for block in blocks(DOCUMENT):
            if block.section == section:
                with ThreadPoolExecutor(len(roles)) as side_by_side:
                    list(side_by_side.map(lambda role, block=block: self._run(block, role), meant(block, roles)))

    def _run(self, block: Block, role: str) -> None:
        machine = self.machines[role]
        if "run by" in block.notes:
            machine.run(block)
        elif block.text.startswith("scp "):  # what cannot be run as it stands, but has to be done
            self.copy_token(role)
        elif "/bin/pip install /usr/local/src/" in block.text and "venv" in block.text:
            machine.do("install_venv /opt/infinilm-svc /usr/local/src/infinilm-svc")

    def copy_token(self, role: str) -> None:
        token = (self.machines["control"].root() / TOKEN).read_bytes()
        (self.machines[role].root() / TOKEN).write_bytes(token)

    def ask(self, **more: Any) -> requests.Response:
        """A client's chat."""
        body = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}], **more}
        streamed = bool(more.get("stream"))
        return self.hosts["client"].ask("POST", f"{ROUTER}/v1/chat/completions", 60, json=body, stream=streamed)

    def routed(self) -> set[str]:
        """The instances that the router sends requests to."""
        listed = self.hosts["client"].ask("GET", f"{ROUTER}/services", 10).json()["services"]
        return {service["name"] for service in listed if service["healthy"]}

    def registered(self) -> set[str]:
        """The names that the registry says are healthy, of instances and babysitters."""
        listed = self.hosts["control"].ask("GET", f"{REGISTRY}/services", 10).json()["services"]
        return {service["name"] for service in listed if service["is_healthy"]}

    def both(self) -> bool:
        """The first two hosts are there, for registry and router."""
        names = {"qwen-a", "qwen-b"}
        return self.routed() >= {f"{n}-server" for n in names} and self.registered() >= names


def meant(block: Block, roles: Collection[str]) -> list[str]:
    """For which of these machines a block is."""
    on = block.notes.get("on", "control instances").split()
    return [role for role in roles if role in on or (role in INSTANCES and "instances" in on)]
