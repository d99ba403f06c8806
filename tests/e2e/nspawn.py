"""Booted machines: a minimal Debian with its own systemd under systemd-nspawn, on a host of a test's network.

The base is made once by debootstrap and kept in the user's cache; a machine's files are an overlay of it. Commands run
in an ssh session of root, over the machine's own loopback, so that a cut link does not end it. Needs root.
"""

import fcntl
import hashlib
import inspect
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.documents.blocks import Block
from tests.documents.machine import Session
from tests.integration.registry.hosts import Host
from tests.integration.registry.hosts import missing as no_network
from tests.waiting import wait_until

# What Debian's installer gives an "SSH server" with the standard system utilities, as far as the documents use it.
# python3-venv and git too: there is no mirror to install them from. redis-server is for one machine, and off.
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,netbase,openssh-server,openssh-client,sudo,iproute2,procps,logrotate,"
    "nftables,curl,ca-certificates,python3,python3-venv,git,redis-server"
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infinilm-svc" / "nspawn"
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "nft": "nftables",
}
DEBOOTSTRAP_TIMEOUT_SECONDS = 900
BOOT_TIMEOUT_SECONDS = 60.0
SHUTDOWN_TIMEOUT_SECONDS = 120.0
REBOOT_STATUS = 133  # of systemd-nspawn with --keep-unit: whoever started it is to start it again
BLOCK_TIMEOUT_SECONDS = 300.0  # a block may install packages
LISTENER = Path(__file__).parents[1] / "documents" / "listen.sh"
CURL_SETTINGS = "fail-with-body\nsilent\nshow-error\nmax-time=30\n"  # an answer of 400 or more fails the block
CGROUPS = Path("/sys/fs/cgroup")


class CannotBoot(Exception):
    """systemd-nspawn cannot boot a machine here; the text says why."""


def missing() -> str:
    """Return why this host cannot have such a machine, as far as it is known before one is booted; else ""."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            return f"there is no `{tool}` (Debian: apt install {package})"
    return no_network()  # which needs root, too


def make_base() -> Path:
    """Return the directory of the base, which is made unless it is in the cache."""
    source = f"{PACKAGES} {inspect.getsource(_debootstrap)} {inspect.getsource(_configure)}"
    root = CACHE / hashlib.sha256(source.encode()).hexdigest()[:8]
    CACHE.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "complete").exists():
            shutil.rmtree(root, ignore_errors=True)
            _debootstrap(root / "files")
            _configure(root / "files")
            (root / "complete").touch()
    return root / "files"


def _debootstrap(root: Path) -> None:
    root.mkdir(parents=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEBOOTSTRAP_TIMEOUT_SECONDS)
    if done.returncode:
        raise CannotBoot(f"debootstrap fails: {done.stdout[-500:]}{done.stderr[-500:]}")


def _configure(root: Path) -> None:
    """Let root log in from machine to machine by key, and find git's and pip's packages in /srv."""
    subprocess.run(["systemctl", f"--root={root}", "disable", "redis-server"], check=True, capture_output=True)
    keys = root / "root" / ".ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / "id_ed25519")], check=True)
    shutil.copy(keys / "id_ed25519.pub", keys / "authorized_keys")
    host_key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    (keys / "known_hosts").write_text(f"* {host_key}")
    (root / "root" / ".curlrc").write_text(CURL_SETTINGS)
    (root / "etc" / "gitconfig").write_text(
        '[url "/srv/packages/infinilm-svc"]\n    insteadOf = https://git.example.com/infinilm-svc.git\n'
        "[safe]\n    directory = /srv/packages/infinilm-svc\n    directory = /srv/packages/infinilm-svc/.git\n"
    )
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /srv/packages/wheels\n")


class SystemdMachine:
    """`packages` is at /srv/packages of the machine: `wheels/`, and the repository `infinilm-svc/`."""

    def __init__(self, role: str, host: Host, base: Path, packages: Path) -> None:
        self.role = role
        self.host = host
        self.place = host.directory
        self._root = self.place / "root"
        self.key = f"{host.name}-{os.getpid()}"
        self._packages = packages
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._session: Session | None = None
        for name in ("root", "changes", "work"):
            shutil.rmtree(self.place / name, ignore_errors=True)  # of an earlier machine that was lost
            (self.place / name).mkdir()
        layers = f"lowerdir={base},upperdir={self.place}/changes,workdir={self.place}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", layers, str(self._root)]
        done = subprocess.run(mount, capture_output=True, text=True)
        if done.returncode:
            raise CannotBoot(done.stderr.strip())
        (self._root / "etc" / "hostname").write_text(f"{role}\n")
        (self._root / "etc" / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {role}\n")
        (self._root / "etc" / "resolv.conf").write_text("")

    def boot(self) -> None:
        assert self._nspawn is None, f"{self.role} is booted already"
        groups = self._cgroups()
        try:
            for group in groups:
                group.mkdir(exist_ok=True)
        except OSError as error:
            raise CannotBoot(f"no control group can be made: {error}") from error
        # The namespace keeps its rules over a boot; a kernel does not.
        subprocess.run(["ip", "netns", "exec", self.host.name, "nft", "flush", "ruleset"], check=True)
        with (self.place / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"', "sh"]
                + [str(group / "cgroup.procs") for group in groups]
                + ["--", "systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit", "--console=pipe"]
                + [f"--machine={self.key}", f"--directory={self._root}"]
                + [f"--network-namespace-path=/run/netns/{self.host.name}", "--capability=CAP_NET_ADMIN"]
                + [f"--bind-ro={self._packages}:/srv/packages"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._wait_for_boot()

    def run(self, block: Block) -> str:
        return self.session().run(block)

    def do(self, text: str) -> str:
        """Run commands that are in no document, in the session of the blocks, and return their output."""
        return self.session().do(text)

    def session(self) -> Session:
        """Return the session, which is a new one after a boot and after a block that failed."""
        if self._session is not None and self._session.ended():
            self._end_session()
        if self._session is None:
            files = Path(tempfile.mkdtemp(prefix=".session-", dir=self._root / "root"))
            shutil.copy(LISTENER, files)
            inside = f"/root/{files.name}"
            command = f". {inside}/{LISTENER.name}"
            self._session = Session([*self._ssh(), f"exec bash -c '{command}'"], BLOCK_TIMEOUT_SECONDS, files, inside)
        return self._session

    def call(self, *command: str) -> str:
        """Run a command in a session of its own, and return its output; "" where the machine does not answer."""
        done = subprocess.run([*self._ssh(), *command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def reboot(self) -> None:
        self._end_session()
        self.call("systemctl reboot")
        assert self._nspawn
        assert self._nspawn.wait(SHUTDOWN_TIMEOUT_SECONDS) == REBOOT_STATUS, self.console()
        self._nspawn = None
        self.boot()

    def cut_power(self) -> None:
        """End every process of the machine at once."""
        self._end_session()
        assert self._nspawn
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        for leader in children.read_text().split() if children.exists() else []:
            os.kill(int(leader), signal.SIGKILL)
        try:
            self._nspawn.wait(BOOT_TIMEOUT_SECONDS)
        finally:
            self._nspawn.kill()
            self._nspawn = None

    def root(self) -> Path:
        """Return the directory of its files on this host."""
        return self._root

    def console(self) -> str:
        return (self.place / "console").read_text(errors="replace")

    def close(self) -> None:
        if self._nspawn:
            self.cut_power()
        subprocess.run(["umount", str(self._root)], check=True)
        for group in self._cgroups():
            for directory, _, _ in os.walk(group, topdown=False):
                os.rmdir(directory)
        with suppress(OSError):
            Path(f"/run/systemd/nspawn/propagate/{self.key}").rmdir()

    def _wait_for_boot(self) -> None:
        """Wait until it admits root, and every unit has started."""

        def admits() -> bool:
            assert self._nspawn
            if self._nspawn.poll() is not None:
                raise CannotBoot(f"systemd-nspawn ends: {self.console()[-800:]}")
            return bool(self.call("echo ready"))

        wait_until(admits, BOOT_TIMEOUT_SECONDS, f"{self.role} boots", interval=0.3)
        state = self.call("systemctl is-system-running --wait || true").strip()
        assert state == "running", f"{self.role}: {state}\n{self.call('systemctl --failed; journalctl -b -n 100')}"

    def _end_session(self) -> None:
        if self._session:
            self._session.close()
            self._session = None

    def _ssh(self) -> list[str]:
        keys = self._root / "root" / ".ssh"
        options = [f"UserKnownHostsFile={keys}/known_hosts", "BatchMode=yes", "ConnectTimeout=5", "LogLevel=ERROR"]
        flags = [word for option in options for word in ("-o", option)]
        inside = ["ip", "netns", "exec", self.host.name]
        return [*inside, "ssh", "-F", "none", "-i", str(keys / "id_ed25519"), *flags, "root@127.0.0.1"]

    def _cgroups(self) -> list[Path]:
        """Return its groups in every hierarchy that systemd uses: one, or two where the kernel's are of both kinds."""
        hierarchies = [CGROUPS / name for name in ("systemd", "unified") if (CGROUPS / name).is_dir()] or [CGROUPS]
        return [hierarchy / f"nspawn-{self.key}" for hierarchy in hierarchies]
