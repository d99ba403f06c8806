"""The routers that can be measured: how each is installed, and how it is started.

To add one: write a function that takes a Place and returns the command, and name it in PEERS. For a single run,
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
from pathlib import Path
from typing import Any

from processes import free_port
from scenarios import MODEL

MOST = 9000  # connections that a peer which wants to know is told


class MissingError(Exception):
    """A router that is not here, with what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one router is to run: its port, its backends, a directory for its files, and one for what is installed."""

    port: int
    backends: list[int]
    directory: Path
    cache: Path

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.backends]

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def static(self) -> str:
        """Our file of static services. The limit is never met, yet every request passes admission."""
        return self.write("static.json", static_services(self.backends, MODEL, max_concurrency=2 * MOST))


def static_services(ports: list[int], model: str, **metadata: Any) -> str:
    about = {"type": "openai-api", "models": [model], **metadata}
    services = [
        {"name": f"backend{number}", "host": "127.0.0.1", "port": port, "metadata": about}
        for number, port in enumerate(ports, 1)
    ]
    return json.dumps({"services": services})


def ours(place: Place) -> list[str]:
    svc = Path(sys.executable).with_name("svc")
    return [str(svc), "router", "--port", str(place.port), "--static-services", place.static()]


def nginx(place: Place) -> list[str]:
    """One worker, no access log, no routing by model: the least that a proxy can do."""
    servers = " ".join(f"server 127.0.0.1:{port};" for port in place.backends)
    conf = f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile {2 * MOST + 1000};
pid {place.directory}/nginx.pid;
error_log {place.directory}/nginx.err;
events {{ worker_connections {2 * MOST + 1000}; }}
http {{
    access_log off;
    client_body_temp_path {place.directory}/body;
    proxy_temp_path {place.directory}/proxy;
    fastcgi_temp_path {place.directory}/fastcgi;
    uwsgi_temp_path {place.directory}/uwsgi;
    scgi_temp_path {place.directory}/scgi;
    upstream backends {{ {servers} keepalive 2000; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        keepalive_requests 10000000;
        client_max_body_size 64m;
        client_body_buffer_size 1m;
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
    return [system("nginx"), "-e", f"{place.directory}/nginx.err", "-c", place.write("nginx.conf", conf)]


def haproxy(place: Place) -> list[str]:
    servers = "\n".join(f"    server backend{port} 127.0.0.1:{port}" for port in place.backends)
    conf = f"""
global
    maxconn {MOST}
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
frontend clients
    bind 127.0.0.1:{place.port} backlog 4096
    default_backend backends
backend backends
    balance roundrobin
    http-reuse always
{servers}
"""
    return [system("haproxy"), "-db", "-f", place.write("haproxy.cfg", conf)]


def rust(package: str, *subcommand: str) -> Callable[[Place], list[str]]:
    """The routers that descend from sglang's, and share its options."""

    def command(place: Place) -> list[str]:
        to = ["--host", "127.0.0.1", "--port", str(place.port), "--worker-urls", *place.urls]
        metrics = ["--prometheus-port", str(free_port())]
        return [pip(place.cache, package), *subcommand, *to, "--policy", "round_robin", *metrics]

    return command


def by_command(command: str) -> Callable[[Place], list[str]]:
    def fill(place: Place) -> list[str]:
        words = shlex.split(command)
        return [word.format(port=place.port, static=place.static(), urls=" ".join(place.urls)) for word in words]

    return fill


PEERS: dict[str, Callable[[Place], list[str]]] = {
    "ours": ours,
    "nginx": nginx,
    "haproxy": haproxy,
    "vllm-router": rust("vllm-router"),
    "sglang-router": rust("sglang-router", "launch"),
    "smg": rust("smg", "launch"),
}


def pip(cache: Path, package: str) -> str:
    """The program that a package brings under its own name, in an environment of its own."""
    place = cache / package
    program = place / "bin" / package
    if not program.exists():
        print(f"installing {package} into {place}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        done = subprocess.run([str(place / "bin" / "pip"), "install", "-q", package])
        if done.returncode or not program.exists():
            raise MissingError(f"{package}: pip could not install it into {place}; leave it out with --routers")
    return str(program)


def system(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not found:
        raise MissingError(f"{name} is not installed: apt-get install {name}, or leave it out with --routers")
    return found
