"""The routers that can be measured: how each is installed and started.

To add one: write a function that takes a Target and returns the command, and name it in PEERS. For a single run,
`run.py --peer NAME='COMMAND'` does without: {port}, {static} (our file of static services) and {urls} are filled in.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from processes import free_port
from scenarios import MODEL

MAX_CONNECTIONS = 9000  # for the configuration of a router that needs a limit


class MissingError(Exception):
    """A router that is not installed; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where one router runs: its port, its backends, a directory for its files, and one for installed programs."""

    port: int
    backends: list[int]
    directory: Path
    cache: Path
    services: str = ""  # the content of our file of static services; empty: one service for each backend

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.backends]

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def static(self) -> str:
        """Write our file of static services and return its path. Its limit is checked for each request."""
        services = self.services or static_services(self.backends, MODEL, max_concurrency=2 * MAX_CONNECTIONS)
        return self.write("static.json", services)


def static_services(ports: list[int], model: str, **metadata: Any) -> str:
    fields = {"type": "openai-api", "models": [model], **metadata}
    services = [
        {"name": f"backend{number}", "host": "127.0.0.1", "port": port, "metadata": fields}
        for number, port in enumerate(ports, 1)
    ]
    return json.dumps({"services": services})


def ours(target: Target, workers: int = 1) -> list[str]:
    svc, count = Path(sys.executable).with_name("svc"), str(workers)
    return [str(svc), "router", "--port", str(target.port), "--static-services", target.static(), "--workers", count]


def nginx(target: Target) -> list[str]:
    """Return the command of a minimal nginx: one worker, no access log, no routing by model."""
    servers = " ".join(f"server 127.0.0.1:{port};" for port in target.backends)
    conf = f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile {2 * MAX_CONNECTIONS + 1000};
pid {target.directory}/nginx.pid;
error_log {target.directory}/nginx.err;
events {{ worker_connections {2 * MAX_CONNECTIONS + 1000}; }}
http {{
    access_log off;
    client_body_temp_path {target.directory}/body;
    proxy_temp_path {target.directory}/proxy;
    fastcgi_temp_path {target.directory}/fastcgi;
    uwsgi_temp_path {target.directory}/uwsgi;
    scgi_temp_path {target.directory}/scgi;
    upstream backends {{ {servers} keepalive 2000; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{target.port} backlog=4096;
        keepalive_requests 10000000;
        client_max_body_size 64m;
        client_body_buffer_size 2m;
        location / {{
            proxy_pass http://backends;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""
    return [system("nginx"), "-e", f"{target.directory}/nginx.err", "-c", target.write("nginx.conf", conf)]


def haproxy(target: Target) -> list[str]:
    servers = "\n".join(f"    server backend{port} 127.0.0.1:{port}" for port in target.backends)
    conf = f"""
global
    maxconn {MAX_CONNECTIONS}
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
frontend clients
    bind 127.0.0.1:{target.port} backlog 4096
    default_backend backends
backend backends
    balance roundrobin
    http-reuse always
{servers}
"""
    return [system("haproxy"), "-db", "-f", target.write("haproxy.cfg", conf)]


def rust(package: str, *subcommand: str, policy: str = "round_robin") -> Callable[[Target], list[str]]:
    """Return the command of a router that descends from sglang's and shares its options."""

    def command(target: Target) -> list[str]:
        to = ["--host", "127.0.0.1", "--port", str(target.port), "--worker-urls", *target.urls]
        metrics = ["--prometheus-port", str(free_port())]
        return [pip(target.cache, package), *subcommand, *to, "--policy", policy, *metrics]

    return command


def by_command(command: str) -> Callable[[Target], list[str]]:
    def fill(target: Target) -> list[str]:
        arguments = shlex.split(command)
        return [word.format(port=target.port, static=target.static(), urls=" ".join(target.urls)) for word in arguments]

    return fill


PEERS: dict[str, Callable[[Target], list[str]]] = {
    "ours": ours,
    "ours-2": partial(ours, workers=2),
    "ours-4": partial(ours, workers=4),
    "nginx": nginx,
    "haproxy": haproxy,
    "vllm-router": rust("vllm-router"),
    "sglang-router": rust("sglang-router", "launch"),
    "smg": rust("smg", "launch"),
}


def pip(cache: Path, package: str) -> str:
    """Return the program of the package's own name, in its own environment; install it on first use."""
    environment = cache / package
    program = environment / "bin" / package
    if not program.exists():
        print(f"installing {package} into {environment}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        done = subprocess.run([str(environment / "bin" / "pip"), "install", "-q", package])
        if done.returncode or not program.exists():
            raise MissingError(f"{package}: pip could not install it into {environment}; leave it out with --routers")
    return str(program)


def system(name: str) -> str:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        raise MissingError(f"{name} is not installed: apt-get install {name}, or leave it out with --routers")
    return program
