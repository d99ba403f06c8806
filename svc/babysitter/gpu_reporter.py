"""Reads the GPUs of this host and reports them. One babysitter of a site does this; when it ends, another one does."""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from svc.babysitter.registrar import Registrar
from svc.base import file_owner, private_files
from svc.base.errors import SvcError, Unavailable
from svc.base.gpus.gpu import Gpu, HostGpus
from svc.base.gpus.reading import GpuReader
from svc.config.instance.model import InstanceConfig
from svc.protocol.gpu_report import GPU_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS, READING_FILE, GpuReport, fitted

log = logging.getLogger(__name__)
LOCK_FILE = "gpus.lock"
READ_TIMEOUT_SECONDS = 20.0  # nothing waits for this reading; nvidia-smi without persistence mode takes many seconds
SEARCH_INTERVAL_SECONDS = 60.0  # pause while no vendor's tool is installed
MIN_PAUSE_FACTOR = 4  # minimum pause after a reading, in multiples of the time that it took
MAX_SENT_COMMAND_LENGTH = 60
Send = Callable[[GpuReport], object]


def gpu_reporter(config: InstanceConfig, directory: Path, registrar: Registrar) -> "GpuReporter":
    """Return the reporter of a babysitter. It sends reports only while the babysitter is registered."""

    def send(report: GpuReport) -> None:
        if registrar.registered:
            registrar.client.report_gpus(config.name, report)

    return GpuReporter(directory, socket.gethostname(), send if config.registry_urls else None)


class GpuReporter:
    """Reads and reports GPUs: call `run_round` again and again; it returns the seconds to pause before the next call.

    `directory` is the site's state directory. `send` sends a report to the registry, and is None without a registry.
    `latest` is the last reading if this babysitter is the site's reader of the GPUs, else None.
    """

    def __init__(
        self,
        directory: Path,
        hostname: str,
        send: Send | None,
        reader: GpuReader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latest: HostGpus | None = None
        self._directory = directory
        self.hostname = hostname
        self._send = send
        self._reader = reader or GpuReader()
        self._clock = clock
        self._lock: int | None = None  # the descriptor of the lock file; None if this babysitter is not the reader
        self._complaint: str | None = None  # the problem that was logged last; None before the first reading

    def run_round(self) -> float:
        """Read the GPUs, write them to the file and send them, unless another babysitter of the site does so."""
        if not self._reader.is_installed():
            self._end()
            return SEARCH_INTERVAL_SECONDS
        if not self._is_reader():
            return GPU_INTERVAL_SECONDS
        begun = self._clock()
        reading = self._reader.read(READ_TIMEOUT_SECONDS)
        took = self._clock() - begun
        if reading is None:
            self._end()
            return SEARCH_INTERVAL_SECONDS
        self.latest = reading
        self._log_change(reading)
        pause = max(GPU_INTERVAL_SECONDS, MIN_PAUSE_FACTOR * took)
        self._report(reading, min(MAX_INTERVAL_SECONDS, pause + took))
        return pause

    def _is_reader(self) -> bool:
        """Take the lock if it is free; return whether this babysitter holds it.

        The kernel frees the lock when the process ends.
        """
        if self._lock is not None:
            return True
        descriptor = -1
        try:
            private_files.make_directory(self._directory)
            descriptor = file_owner.open_or_create(self._directory / LOCK_FILE, os.O_RDWR, private_files.MODE)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                log.debug("%s: %s", self._directory / LOCK_FILE, error.strerror)
            return False
        self._lock = descriptor
        return True

    def _end(self) -> None:
        """Remove the file with the last reading, and release the lock, so that another babysitter reads the GPUs."""
        self.latest = None
        if self._lock is not None:
            with suppress(OSError):
                (self._directory / READING_FILE).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _report(self, reading: HostGpus, interval: float) -> None:
        gpus = tuple(map(_with_short_commands, reading.gpus))
        report = GpuReport(
            hostname=self.hostname, tool=reading.tool, gpus=gpus, problem=reading.problem, interval=round(interval, 1)
        )
        try:
            content = msgspec.json.encode(report)
            private_files.write(self._directory / READING_FILE, content + b"\n", durable=False)
        except OSError as error:
            log.debug("%s: %s", self._directory / READING_FILE, error.strerror)
        if self._send is not None:
            try:
                self._send(fitted(report))
            except Unavailable:
                pass  # the heartbeats log that no registry answers
            except SvcError as error:  # for example an older registry, which does not know the path
                log.debug("the registry refuses the GPUs: %s", error.message)

    def _log_change(self, reading: HostGpus) -> None:
        """Log the problem of a reading, or that there is none, unless that is the same as for the reading before."""
        if reading.problem == self._complaint:
            return
        if reading.problem:
            log.warning("GPUs: %s", reading.problem)
        else:
            log.info("GPUs: %s lists %d", reading.tool, len(reading.gpus))
        self._complaint = reading.problem


def _with_short_commands(gpu: Gpu) -> Gpu:
    """Return the GPU without the arguments of its processes, because every reader of the registry sees the report."""
    processes = [msgspec.structs.replace(process, command=short_command(process.command)) for process in gpu.processes]
    return msgspec.structs.replace(gpu, processes=tuple(processes))


def short_command(command: str) -> str:
    """Return the program of a command line and, for an interpreter, the script or module that it runs."""
    arguments = command.split()
    script = (
        arguments[2:3] if arguments[1:2] == ["-m"] else [word for word in arguments[1:2] if not word.startswith("-")]
    )
    return " ".join(map(os.path.basename, arguments[:1] + script))[:MAX_SENT_COMMAND_LENGTH]
