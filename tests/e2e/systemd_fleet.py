"""The machines of docs/DISTRIBUTED_DEPLOYMENT_README.md, booted, which run each block as it stands."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import requests

from tests.documents.blocks import Block, blocks
from tests.documents.checkout import GIT, checkout
from tests.documents.fleet import ADDRESSES, DOCUMENT, ROUTER, Fleet
from tests.e2e.nspawn import CannotBoot, SystemdMachine, make_base
from tests.waiting import wait_until

SYSTEMD = Path("docs/SYSTEMD.md")
UNIT = "infinilm-svc"
SITE = "/var/lib/infinilm"
PIP_TIMEOUT_SECONDS = 600
PYTHON = (3, 11)  # of the machines' Debian
# For the build, and of redis for Debian's Python 3.11.2, which is older than that of the tests may be.
MACHINE_REQUIREMENTS = ("setuptools>=68", "wheel", "async-timeout>=4.0.3")
TWO_CHECKS_SECONDS = 75.0  # the router checks every 30 s, and an instance that failed needs two checks that pass


class SystemdFleet(Fleet):
    """The hosts of the document, one empty host more for SYSTEMD.md alone, a second registry's and a Redis's."""

    addresses = {**ADDRESSES, "single": "10.0.0.21", "other": "10.0.0.2", "redis": "10.0.0.9"}

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self._base = make_base()
        self.packages = place / "packages"
        super().__init__(place, make_packages(self.packages), stack)

    def start_machine(self, role: str, checkout: Path) -> SystemdMachine:
        return SystemdMachine(role, self.hosts[role], self._base, checkout)

    def boot(self, *roles: str) -> None:
        for role in roles:
            self.machines[role].boot()

    def replace_machine(self, role: str) -> None:
        super().replace_machine(role)
        self.boot(role)

    def run(self, block: Block, role: str) -> None:
        """Run a block, where it uses the variables of an instance host in a session that has them."""
        if "$name" in block.text:
            (naming,) = (b for b in blocks(DOCUMENT) if b.text.startswith("here=") and b.notes["on"] == role)
            self.machines[role].run(naming)
        self.machines[role].run(block)

    def copy_token(self, role: str) -> None:
        section = "An instance host"
        (block,) = (b for b in blocks(DOCUMENT) if b.section == section and b.text.startswith("scp "))
        self.run(block, role)

    def models_of(self, name: str) -> set[str]:
        """Return the models for which the router sends requests to an instance."""
        listed = self.hosts["client"].ask("GET", f"{ROUTER}/services", 40).json()["services"]
        return {model for service in listed if service["name"] == f"{name}-server" for model in service["models"]}

    def both_hosts_are_up(self) -> bool:
        """Return whether registry and router answer, and know the instances of the first two hosts."""
        try:
            return super().both_hosts_are_up()
        except requests.ConnectionError:
            return False  # as while the control host boots

    def heartbeats_at_the_other_registry(self) -> list[float]:
        """Return the time of the last heartbeat of each instance, as the second registry has it."""
        listed = self.hosts["control"].ask("GET", f"http://{self.addresses['other']}:18000/services", 40).json()
        return [service["last_heartbeat"] for service in listed["services"] if service["name"] in ("qwen-a", "qwen-b")]

    def await_both(self, answers: list[tuple[float, str, float]]) -> None:
        """Wait until both instances have answered from now on."""
        count = len(answers)
        both = {"qwen-a", "qwen-b"}
        wait_until(lambda: {name for _, name, _ in answers[count:]} >= both, TWO_CHECKS_SECONDS, "both answer")

    def as_user(self, role: str, command: str) -> str:
        """Run a command of the site as the site's user, and return its output."""
        return self.machines[role].call(f"cd {SITE} && runuser -u infinilm -- {command}")

    def main_pid(self, role: str) -> int:
        return main_pid(self.machines[role])

    def add_version(self, version: str) -> None:
        """Commit and tag a version of the program, which then can be fetched."""
        repository = self.packages / "infinilm-svc"
        setup = repository / "setup.cfg"
        setup.write_text(setup.read_text().replace("\nversion = ", f"\nversion = {version}\n# before: "))
        for command in (f"commit --quiet --all --message {version}", f"tag v{version}"):
            subprocess.run([*GIT, *command.split()], cwd=repository, check=True)


def main_pid(machine: SystemdMachine) -> int:
    """Return the pid of the unit's supervisord; 0 if the unit does not run."""
    return int(machine.call(f"systemctl show --property MainPID --value {UNIT}") or 0)


def is_healthy(machine: SystemdMachine) -> bool:
    return bool(machine.call(f"cd {SITE} && svc health"))


def make_packages(place: Path) -> Path:
    """Make a repository like that of the document's `git clone`, and a wheel of each package that pip needs for it."""
    if sys.version_info[:2] != PYTHON:
        raise CannotBoot(f"the machines' Python is {PYTHON[0]}.{PYTHON[1]}, and their wheels need the same")
    repository = place / "infinilm-svc"
    repository.mkdir(parents=True)
    checkout(repository)
    wheels = place / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), f"{repository}[redis]"]
    done = subprocess.run(
        [*command, *MACHINE_REQUIREMENTS], capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS
    )
    if done.returncode:
        raise CannotBoot(f"PyPI's packages cannot be had: {done.stderr[-500:]}")
    for own in wheels.glob("infinilm_svc-*"):
        own.unlink()
    return place
