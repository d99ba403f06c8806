"""The machines of docs/DISTRIBUTED_DEPLOYMENT_README.md in their own network, installed by the document's blocks."""

import os
import re
import select
import shutil
import socket
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.documents.blocks import Block, blocks
from tests.documents.machine import Machine, missing
from tests.integration.registry.hosts import Host, Network
from tests.integration.registry.hosts import missing as no_network
from tests.integration.registry.writers import Workers
from tests.waiting import wait_until

DOCUMENT = Path("docs/DISTRIBUTED_DEPLOYMENT_README.md")
ADDRESSES = {
    "control": "10.0.0.1",
    "first": "10.0.0.11",
    "second": "10.0.0.12",
    "third": "10.0.0.13",
    "client": "10.0.0.100",
}
TESTS = ("tests/documents/test_hosts.py", "tests/documents/test_registries.py")
INSTANCES = ("first", "second", "third")
REGISTRY, ROUTER = "http://127.0.0.1:18000", "http://10.0.0.1:8000"
TOKEN = "/etc/infinilm/token"
PORTS = (22, 6379, 8000, 8001, 8100, 8101, 18000)
SETUP_SECTIONS = [
    "On every machine",
    "The control host",
    "An instance host",
    "The first answer",
    "What has to be reachable",
]
OPERATION_SECTIONS = [
    "The tokens",
    "A machine more",
    "A machine less",
    "Restarting and changing instances",
    "A new version",
    "Backup",
    "A lost machine",
]
SCP = re.compile(r"scp (?:-pr )?root@(?P<address>[^:]+):(?P<source>\S+) (?P<target>\S+)\n")
START_REDIS = "redis-server /etc/redis/redis.conf --daemonize yes --supervised no --pidfile /tmp/redis.pid"
RECOVERY_TIMEOUT_SECONDS = 15.0  # after a link is restored or a program has started


def require_machines() -> None:
    """Skip the test, or in CI fail it, if this host cannot have such machines."""
    reason = missing() or no_network() or ("" if shutil.which("nft") else "no `nft` (Debian: apt install nftables)")
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


class Fleet:
    """`start_machine` makes the machine of a role on its host; by default one made of namespaces."""

    addresses = ADDRESSES

    def __init__(self, place: Path, checkout: Path, stack: ExitStack) -> None:
        network = stack.enter_context(closing(Network(len(self.addresses), place, list(self.addresses.values()))))
        self.hosts: dict[str, Host] = dict(zip(self.addresses, network.hosts, strict=True))
        self.machines: dict[str, Any] = {}
        self._checkout = checkout
        for role in self.addresses:
            if role != "client":
                self.machines[role] = self.start_machine(role, checkout)
                stack.callback(lambda role=role: self.machines[role].close())

    def start_machine(self, role: str, checkout: Path) -> Any:
        return Machine(checkout, site="", inside=("nsenter", f"--net=/run/netns/{self.hosts[role].name}"))

    def replace_machine(self, role: str) -> None:
        """Put an empty machine in the place of a host's machine, which is lost with its disk."""
        self.machines[role].close()
        self.machines[role] = self.start_machine(role, self._checkout)

    def run_section(self, section: str, *roles: str, document: Path = DOCUMENT) -> None:
        """Run the blocks of a section, each on those of the machines that it is for, in parallel."""
        for block in blocks(document):
            if block.section == section:
                with ThreadPoolExecutor(len(roles)) as executor:
                    list(executor.map(lambda role, block=block: self.run(block, role), roles_of(block, roles)))

    def run(self, block: Block, role: str) -> None:
        machine = self.machines[role]
        if block.notes.get("run by") in TESTS:
            machine.run(block)
        elif copied := SCP.fullmatch(block.text):  # cannot run here as it is, but the file must be copied
            [source] = [name for name, address in self.addresses.items() if address == copied["address"]]
            self._copy(copied["source"], source, copied["target"], role)
        elif block.text == "systemctl restart redis-server\n":
            machine.do(START_REDIS)
        elif "/bin/pip install /usr/local/src/" in block.text and "venv" in block.text:
            machine.do("install_venv /opt/infinilm-svc /usr/local/src/infinilm-svc")

    def copy_token(self, role: str) -> None:
        self._copy(TOKEN, "control", TOKEN, role)

    def _copy(self, source: str, source_role: str, target: str, target_role: str) -> None:
        path = self.machines[source_role].root() / source.lstrip("/")
        copy = self.machines[target_role].root() / target.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, copy / path.name)
        else:
            copy.write_bytes(path.read_bytes())

    def send_chat(self, **fields: Any) -> requests.Response:
        """Send a chat from the client's machine, and return its answer."""
        body = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}], **fields}
        streamed = bool(fields.get("stream"))
        return self.hosts["client"].ask("POST", f"{ROUTER}/v1/chat/completions", 60, json=body, stream=streamed)

    def routed_instances(self) -> set[str]:
        """Return the names of the instances to which the router sends requests."""
        listed = self.hosts["client"].ask("GET", f"{ROUTER}/services", 40).json()["services"]
        return {service["name"] for service in listed if service["healthy"]}

    def registered_services(self) -> dict[str, bool]:
        """Return the names of the instances and babysitters in the registry, and whether each is healthy."""
        listed = self.hosts["control"].ask("GET", f"{REGISTRY}/services", 40).json()["services"]
        return {service["name"]: service["is_healthy"] for service in listed}

    def healthy_services(self) -> set[str]:
        return {name for name, is_healthy in self.registered_services().items() if is_healthy}

    def both_hosts_are_up(self) -> bool:
        """Return whether registry and router know the instances of the first two hosts."""
        names = {"qwen-a", "qwen-b"}
        return self.routed_instances() >= {f"{n}-server" for n in names} and self.healthy_services() >= names

    def reachable_ports(self, role: str) -> set[tuple[str, int]]:
        """Return the other machines' ports that accept a connection from this machine."""
        others = [other for other in self.machines if other not in (role, "third")]
        places = [(other, port) for other in others for port in PORTS]

        def connect() -> set[tuple[str, int]]:
            with ExitStack() as stack:
                waiting = {}
                for place in places:
                    sock = stack.enter_context(socket.socket())
                    sock.setblocking(False)
                    sock.connect_ex((self.addresses[place[0]], place[1]))
                    waiting[sock] = place
                reachable, deadline = set(), time.monotonic() + 2
                while waiting and time.monotonic() < deadline:
                    for sock in select.select([], list(waiting), [], 0.2)[1]:
                        place = waiting.pop(sock)
                        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                            reachable.add(place)
                return reachable

        return self.hosts[role].inside(connect)

    @contextmanager
    def requests_served(self) -> Iterator[list[tuple[float, str, float]]]:
        """Yield time, instance and duration of each answer, while clients send requests; a failed one is an error."""
        answers: list[tuple[float, str, float]] = []

        def send() -> None:
            began = time.monotonic()
            answer = self.send_chat(max_tokens=1)
            assert answer.status_code == 200, answer.text
            answers.append((time.monotonic(), answer.headers["x-mock-name"], time.monotonic() - began))

        wait_until(self.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "both hosts are there")
        with Workers(pause=0.1).at_work([send, send]):
            yield answers


def roles_of(block: Block, roles: Collection[str]) -> list[str]:
    """Return those of the machines that a block is for."""
    targets = block.notes.get("on", " ".join(roles)).split()
    return [role for role in roles if role in targets or (role in INSTANCES and "instances" in targets)]
