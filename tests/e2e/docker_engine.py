"""A Docker engine for the tests: Debian's, with its data in a directory and its own network.

Images are built in the machine's network, which reaches the package registries, and run in the
other, so that neither bridges nor firewall rules of this machine's change. No image can be pulled:
the base is made by debootstrap under the name that the Dockerfile has for it.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.debian import program
from tests.e2e.sites import ROOT
from tests.waiting import wait_until

BASE = "debian:bookworm-slim"
ROUTER = "http://localhost:8000"
EXCLUDED_PATHS = (
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
)
# The files of the image and of its document.
CONTEXT = ("config", "docker", "ops", "svc", "templates", ".dockerignore", "setup.cfg", "pyproject.toml", "README.md")
CA = Path("/etc/ssl/certs/ca-certificates.crt")  # also where a proxy in between has one of its own


class Engine:
    """The engine; it needs root, and packages without which the test is skipped with the reason."""

    def __init__(self, place: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root, to run a Docker engine")
        self.dockerd, self.debootstrap = program("dockerd", "docker.io"), program("debootstrap", "debootstrap")
        self.client = str(Path(self.dockerd).parents[1] / "bin" / "docker")  # of the same package
        self.place = place
        self.network = f"svc-docker-{os.getpid()}"
        self.environ = {**os.environ, "DOCKER_HOST": f"unix://{place}/sock", "DOCKER_BUILDKIT": "1"}
        self.process: subprocess.Popen[bytes] | None = None
        self.checkout = place / "checkout"  # a copy, so that an edit during the tests changes no image
        self.checkout.mkdir(mode=0o755)
        subprocess.run(["cp", "-a", *CONTEXT, str(self.checkout)], cwd=ROOT, check=True)

    def start(self, own_network: bool) -> None:
        flags = [] if own_network else ["--bridge=none", "--iptables=false"]
        places = [f"--{name}={self.place}/{name}" for name in ("data-root", "exec-root", "pidfile")]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._inside(own_network), self.dockerd, *places, f"--host=unix://{self.place}/sock", *flags],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        wait_until(self._answers, timeout=60, description="dockerd answers", interval=0.3)

    def _answers(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            pytest.skip(f"no Docker engine can run here: {(self.place / 'log').read_text()[-300:]}")
        return self._run("version").returncode == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(90)
            self.process = None

    def make_base(self) -> None:
        with tempfile.TemporaryDirectory(prefix="svc-base-") as root:
            command = [self.debootstrap, "--variant=minbase", "bookworm", root]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-2000:]
            (Path(root) / "etc" / "pip-ca.crt").write_bytes(CA.read_bytes())
            (Path(root) / "etc" / "pip.conf").write_text("[global]\ncert = /etc/pip-ca.crt\n")
            excluded = [word for path in EXCLUDED_PATHS for word in ("--exclude", path)]
            tar = subprocess.Popen(["tar", "-C", root, *excluded, "-c", "."], stdout=subprocess.PIPE)
            subprocess.run([self.client, "import", "-", BASE], env=self.environ, stdin=tar.stdout, check=True)
            assert tar.wait(60) == 0

    def build(self, tag: str, dockerfile: str) -> None:
        done = self._run("build", "--network", "host", "-t", tag, "-f", dockerfile, ".", timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]

    def restart_in_own_network(self) -> None:
        """Restart the engine in its own network."""
        self.stop()
        subprocess.run(["ip", "netns", "add", self.network], check=True)
        subprocess.run([*self._inside(True), "ip", "link", "set", "lo", "up"], check=True)
        self.start(own_network=True)

    def end(self) -> None:
        try:
            if self.process is not None:
                self.remove_containers()
        finally:
            self.stop()
            subprocess.run(["ip", "netns", "delete", self.network], capture_output=True)

    def containers(self) -> list[str]:
        """Return the names of all containers that run."""
        return self._run("ps", "--format", "{{.Names}}").stdout.split()

    def remove_containers(self) -> None:
        for name in self._run("ps", "-aq").stdout.split():
            self._run("rm", "-fv", name)

    def docker(self, *arguments: str, status: int = 0, timeout: float = 120) -> str:
        """Run a docker command and return its stdout; of `logs` and `run`, stderr too."""
        done = self._run(*arguments, timeout=timeout)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return (done.stdout + done.stderr if arguments[0] in ("logs", "run") else done.stdout).strip()

    def exec(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container."""
        return self._run("exec", name, *command)

    def curl(self, *arguments: str) -> str:
        """Run curl on the host of the containers, and return its output."""
        command = [*self._inside(True), "curl", "-sS", "--max-time", "20", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def model_of_answer(self) -> str:
        """Send a chat to the router of the example site, and return the model in the answer."""
        body = json.dumps({"model": "demo-small", "messages": [{"role": "user", "content": "Hi"}]})
        answer = self.curl(f"{ROUTER}/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body)
        model: str = json.loads(answer)["model"]
        return model

    def shell(self, text: str, directory: Path) -> None:
        """Run commands of a document on the host of the containers."""
        environ = self.environ | {"PATH": f"{Path(self.client).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [*self._inside(True), "bash", "-euo", "pipefail", "-c", text],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def wait_until_healthy(self, name: str, timeout: float = 90) -> None:
        def is_healthy() -> bool:
            state = self.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)
            assert state.startswith("running"), f"{state}\n{self.docker('logs', name)}"
            return self._run("exec", name, "svc", "health").returncode == 0

        wait_until(is_healthy, timeout=timeout, description=f"{name} to be healthy", interval=0.5)

    def compose(self, *arguments: str, timeout: float = 300) -> str:
        command = [*self._inside(True), program("docker-compose", "docker-compose"), *arguments]
        done = subprocess.run(
            command, cwd=self.checkout, env=self.environ, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.client, *arguments],
            cwd=self.checkout,
            env=self.environ,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def _inside(self, own_network: bool) -> Sequence[str]:
        return ["nsenter", f"--net=/run/netns/{self.network}"] if own_network else []
