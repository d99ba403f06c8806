"""Sites with instances on demand, on one simulated GPU with room for one of them."""

import os
import socket
from collections.abc import Sequence
from typing import Any

from svc.mock.gpu_state import GpuStateFile
from tests.e2e.sites import Site, http
from tests.waiting import free_port_pair

ON_DEMAND = {"on_demand": "true", "idle_after": 0, "min_awake": 0, "continuation_probe": "false", "restart_delay": 1}


def gpus(site: Site) -> GpuStateFile:
    """Create a GPU of 80 GB, with its nvidia-smi, in the site."""
    site.svc("mock-gpus", "gpus", "--gpus", "1", "--memory", "80GB")
    return GpuStateFile(site.root / "gpus" / "gpus.json")


def add_mock(site: Site, file: GpuStateFile, name: str, *flags: str, **babysitter: Any) -> None:
    """Write the TOML of a mock on demand, which needs 50 GB; its model is named like it."""
    port = free_port_pair()
    gpu = ["--gpu-memory", "50GB", "--gpu-state", str(file.path), "--gpus", "0"]
    arguments = ["--name", name, "--port", str(port), "--models", name, *gpu, *flags]
    backend = f'command = "svc mock"\nargs = {arguments!r}\n'
    _write(site, name, port, backend, '[resources]\ngpus = [0]\ngpu_memory = "50GB"\n', **babysitter)


def add_llama(site: Site, name: str, **babysitter: Any) -> None:
    """Write the TOML of a real model on demand, which needs the whole of a GPU of unknown size."""
    port = free_port_pair()
    arguments = ["--port", str(port), "--alias", name, "--ctx-size", "2048", "--parallel", "1", "--threads", "1"]
    _write(
        site, name, port, f'command = "svc llama"\nargs = {arguments!r}\n', "[resources]\ngpus = [0]\n", **babysitter
    )


def _write(site: Site, name: str, port: int, backend: str, resources: str, **babysitter: Any) -> None:
    metadata = f'[metadata]\nmodels = ["{name}"]\n'
    site.toml(name, port, f"{backend}{resources}{metadata}", **ON_DEMAND | babysitter)


def path_with(file: GpuStateFile) -> str:
    """Return a PATH in which the GPU's nvidia-smi comes first."""
    return f"{file.path.parent}:{os.environ['PATH']}"


def chat_at_once(ports: Sequence[int], model: str, clients: int) -> list[bytes]:
    """Send a chat request from each client at the same moment, in turn to the routers; return the answers."""
    body = b'{"model": "%b", "messages": [{"role": "user", "content": "Hello"}]}' % model.encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    sockets = [socket.create_connection(("127.0.0.1", ports[number % len(ports)])) for number in range(clients)]
    try:
        for sock in sockets:
            sock.sendall(head + body)
        return [_read(sock) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _read(sock: socket.socket) -> bytes:
    sock.settimeout(60)
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def statuses(site: Site) -> dict[str, str]:
    """Return the status of each instance in the registry."""
    services = http.get(f"{site.registry}/services", timeout=5).json()["services"]
    return {service["name"].removesuffix("-server"): service["status"] for service in services}
