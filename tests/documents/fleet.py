"""The machines of docs/DISTRIBUTED_DEPLOYMENT_README.md in their own network, installed by the document's blocks."""

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
    """`start_machine` makes the machine of a role on its host; by default one made of namespaces."""

    addresses = ADDRESSES

    def __init__(self, place: Path, checkout: Path, stack: ExitStack) -> None:
        network = stack.enter_context(closing(Network(len(self.addresses), place, list(self.addresses.values()))))
        self.hosts: dict[str, Host] = dict(zip(self.addresses, network.hosts, strict=True))
        self.machines: dict[str, Any] = {}
        for role in self.addresses:
            if role != "client":
                self.machines[role] = stack.enter_context(closing(self.start_machine(role, checkout)))

    def start_machine(self, role: str, checkout: Path) -> Any:
        return Machine(checkout, site="", inside=("nsenter", f"--net=/run/netns/{self.hosts[role].name}"))

    def run_section(self, section: str, *roles: str, document: Path = DOCUMENT) -> None:
        """Run the blocks of a section, each on those of the machines that it is for, in parallel."""
        for block in blocks(document):
            if block.section == section:
                with ThreadPoolExecutor(len(roles)) as executor:
                    list(executor.map(lambda role, block=block: self.run(block, role), roles_of(block, roles)))

    def run(self, block: Block, role: str) -> None:
        machine = self.machines[role]
        if block.notes.get("run by") == "tests/documents/test_hosts.py":
            machine.run(block)
        elif block.text.startswith("scp "):  # cannot run here as it is, but the token must be copied
            self.copy_token(role)
        elif "/bin/pip install /usr/local/src/" in block.text and "venv" in block.text:
            machine.do("install_venv /opt/infinilm-svc /usr/local/src/infinilm-svc")

    def copy_token(self, role: str) -> None:
        token = (self.machines["control"].root() / TOKEN).read_bytes()
        (self.machines[role].root() / TOKEN).write_bytes(token)

    def send_chat(self, **fields: Any) -> requests.Response:
        """Send a chat from the client's machine, and return its answer."""
        body = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}], **fields}
        streamed = bool(fields.get("stream"))
        return self.hosts["client"].ask("POST", f"{ROUTER}/v1/chat/completions", 60, json=body, stream=streamed)

    def routed_instances(self) -> set[str]:
        """Return the names of the instances to which the router sends requests."""
        listed = self.hosts["client"].ask("GET", f"{ROUTER}/services", 40).json()["services"]
        return {service["name"] for service in listed if service["healthy"]}

    def healthy_services(self) -> set[str]:
        """Return the names of the instances and babysitters that are healthy in the registry."""
        listed = self.hosts["control"].ask("GET", f"{REGISTRY}/services", 40).json()["services"]
        return {service["name"] for service in listed if service["is_healthy"]}

    def both_hosts_are_up(self) -> bool:
        """Return whether registry and router know the instances of the first two hosts."""
        names = {"qwen-a", "qwen-b"}
        return self.routed_instances() >= {f"{n}-server" for n in names} and self.healthy_services() >= names


def roles_of(block: Block, roles: Collection[str]) -> list[str]:
    """Return those of the machines that a block is for."""
    targets = block.notes.get("on", "control instances").split()
    return [role for role in roles if role in targets or (role in INSTANCES and "instances" in targets)]
