"""The memory of this host's GPUs, as supervisord's extension needs it to decide whether an instance fits."""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from svc.base.gpus.gpu import HostGpus
from svc.base.gpus.reading import TOOLS, find_tool
from svc.base.gpus.vendor_tool import VendorTool
from svc.supervision.on_demand.instance_facts import MAX_BYTES, GpuReading

log = logging.getLogger(__name__)
WAIT_SECONDS = 2.0  # a reading that takes longer is used in a later round: the babysitter has to report meanwhile
RETRY_SECONDS = 30.0  # a tool that failed is tried again after this time


def memory_tool(tool: VendorTool) -> VendorTool:
    """Return the tool with only its first query, which reports memory, because an instance waits for the reading."""
    optional = [""] * (len(tool.queries) - 1)
    return tool._replace(queries=tool.queries[:1], parse=lambda outputs: tool.parse([outputs[0], *optional]))


def is_tool_installed() -> bool:
    """Return whether a vendor's tool for GPUs is installed."""
    return any(find_tool(tool.program) for tool in TOOLS)


class BackgroundReading:
    """A reading of the GPUs in a thread. `done` is set at its end, and `gpus` is the result."""

    def __init__(self, read: Callable[[], HostGpus | None]) -> None:
        self.done = threading.Event()
        self.gpus: HostGpus | None = None
        self._read = read
        threading.Thread(target=self._run, name="memory of the GPUs", daemon=True).start()

    def _run(self) -> None:
        try:
            self.gpus = self._read()
        except Exception:  # noqa: BLE001 - a failure of the tool must not keep an instance from waking
            log.exception("the reading of the GPUs failed")
        finally:
            self.done.set()


class HostMemory:
    """Reads the GPUs with `read`, in the background. A tool that is installed counts as working until it has failed."""

    def __init__(
        self,
        read: Callable[[], HostGpus | None],
        is_installed: Callable[[], bool] = is_tool_installed,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._read = read
        self._is_installed = is_installed
        self._clock = clock
        self._failed_at = float("-inf")
        self._problem = ""
        self._installed = False
        self._searched_at = float("-inf")
        self._reading: BackgroundReading | None = None  # the reading whose result was not returned yet

    def has_tool(self) -> bool:
        """Return whether a tool is installed and has not failed in the last RETRY_SECONDS.

        A new tool is found within RETRY_SECONDS.
        """
        now = self._clock()
        if now >= self._searched_at + RETRY_SECONDS:
            self._installed, self._searched_at = self._is_installed(), now
        return self._installed and now >= self._failed_at + RETRY_SECONDS

    def measure(self) -> tuple[GpuReading, ...] | None:
        """Return the memory of each GPU. Each reading begins after the result of the previous one was returned.

        Return None if the reading fails. Also return None if it takes longer than WAIT_SECONDS; its result is then
        returned by a later call. Equal failures of the tool are logged once.
        """
        self._reading = self._reading or BackgroundReading(self._read)
        if not self._reading.done.wait(WAIT_SECONDS):
            return None
        gpus, self._reading = self._reading.gpus, None
        if gpus is None or not gpus.gpus:
            self._failed_at = self._clock()
            self._log(f"{gpus.problem or f'{gpus.tool} lists no GPU'}" if gpus else "no vendor's tool is installed")
            return None
        self._problem = ""
        return tuple(
            GpuReading(gpu.index, min(gpu.memory_total, MAX_BYTES), min(gpu.memory_used, MAX_BYTES))
            for gpu in gpus.gpus
        )

    def _log(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("the memory of the GPUs is not measured before a start: %s", problem)
        self._problem = problem
