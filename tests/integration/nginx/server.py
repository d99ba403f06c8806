"""A real nginx around the files that `svc render --nginx` writes."""

import os
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.debian import program
from tests.integration.router.client import Client
from tests.integration.router.routers import BIN
from tests.waiting import free_port, wait_until

OWN = """\
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log warn;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log {place}/access.log;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/nginx/*.conf;
}}
"""


class Nginx:
    """A site with [nginx] in its svc.toml, and the nginx that serves it."""

    def __init__(self, place: Path, cert: Path, key: Path, settings: str = "") -> None:
        self.place, self.cert, self.key = place, cert, key
        self.command = program("nginx", "nginx-light")
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        (place / "config").mkdir(exist_ok=True)
        self.settings(settings)
        user = "user root;" if os.getuid() == 0 else ""  # else its workers could not enter the directory
        (place / "nginx.conf").write_text(OWN.format(place=place, user=user))

    def settings(self, more: str, tables: str = "") -> None:
        (self.place / "config" / "svc.toml").write_text(
            f'[nginx]\nlisten = "127.0.0.1:{self.port}"\nserver_name = "localhost"\n'
            f'certificate = "{self.cert}"\nkey = "{self.key}"\n{more}\n{tables}'
        )

    def svc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "svc", *arguments],
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def render(self, *arguments: str) -> str:
        """Return the output of `svc render --nginx`; nginx must accept the files."""
        done = self.svc("render", "--nginx", *arguments)
        assert done.returncode == 0, done.stderr
        self.tested()
        return done.stdout

    def tested(self) -> None:
        done = self._run("-t")
        assert done.returncode == 0, done.stderr
        assert "[warn]" not in done.stderr, done.stderr

    def start(self) -> "Nginx":
        self.process = subprocess.Popen(
            [self.command, "-c", str(self.place / "nginx.conf")], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._listens, 30, description="nginx listens")
        return self

    def reload(self) -> None:
        """Return when new workers serve and the old workers accept no connection."""
        before = self._workers()
        assert self._run("-s", "reload").returncode == 0
        wait_until(
            lambda: self._workers() - before and not self._taking() & before, 30, description="nginx has new workers"
        )

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(15)

    def client(self) -> Client:
        """Over TLS, with the certificate verified."""
        client = Client(self.port)
        context = ssl.create_default_context(cafile=str(self.cert))
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        return client

    def errors(self) -> str:
        return (self.place / "error.log").read_text()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, "-c", str(self.place / "nginx.conf"), *arguments], capture_output=True, text=True, timeout=30
        )

    def _workers(self) -> set[int]:
        return set(self._titles())

    def _taking(self) -> set[int]:
        return {pid for pid, title in self._titles().items() if "shutting down" not in title}

    def _titles(self) -> dict[int, str]:
        pid = self.process.pid
        commands = {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                commands[int(child)] = Path(f"/proc/{child}/cmdline").read_text()
        return commands

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.errors()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False
