"""Reads the GPUs of this machine with whichever vendor's tool is installed."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence

from svc.base.gpus import amd_smi, ascend, metax, nvidia, owners, rocm_smi
from svc.base.gpus.gpu import MAX_GPUS, MAX_PROBLEM_LENGTH, Gpu, HostGpus
from svc.base.gpus.tool_process import Output, ToolProcess
from svc.base.gpus.vendor_tool import Query, VendorTool
from svc.base.printable import printable

TOOLS = (nvidia.TOOL, amd_smi.TOOL, rocm_smi.TOOL, metax.TOOL, ascend.TOOL)
TIMEOUT_SECONDS = 10.0  # without persistence mode, nvidia-smi loads the driver first, which takes seconds
# Directories of the vendors' tools; they are searched after PATH, because a system service has a short PATH.
VENDOR_DIRECTORIES = ("/opt/rocm/bin", "/opt/mxdriver/bin", "/usr/local/bin", "/usr/local/sbin", "/usr/lib/wsl/lib")
Run = Callable[[Sequence[str], float], Output]


def read_gpus(timeout: float = TIMEOUT_SECONDS) -> HostGpus | None:
    """Read this machine's GPUs as `GpuReader.read` does. For repeated readings, a GpuReader costs less."""
    return GpuReader().read(timeout)


def find_tool(program: str) -> str | None:
    """Return the path of a vendor's tool, or None if it is not installed."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *VENDOR_DIRECTORIES))
    return shutil.which(program, path=path)


class GpuReader:
    """Reads this machine's GPUs with the first tool that works, and keeps using that tool until it fails."""

    def __init__(
        self,
        tools: Sequence[VendorTool] = TOOLS,
        find: Callable[[str], str | None] = find_tool,
        run: Run | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools
        self._find = find
        self._run = run or ToolProcess().run
        self._clock = clock
        self._chosen: VendorTool | None = None
        self._constant: dict[tuple[str, ...], str] = {}  # arguments of a query whose output never changes -> the output

    def is_installed(self) -> bool:
        """Return whether a vendor's tool is installed."""
        return any(self._find(tool.program) for tool in self._tools)

    def read(self, timeout: float = TIMEOUT_SECONDS) -> HostGpus | None:
        """Read the GPUs now; return None if no vendor's tool is installed.

        If a tool fails, or does not answer within `timeout` seconds, the result has no GPUs and says why in `problem`.
        Under gevent, other greenlets run meanwhile.
        """
        deadline = self._clock() + timeout
        failed: HostGpus | None = None
        for tool, path in self._candidates():
            reading = self._read(tool, path, deadline, timeout)
            if reading.gpus:
                self._chosen = tool
                return reading
            failed = failed or reading
            if self._clock() >= deadline:
                break
        self._chosen = None
        self._constant = {}
        return failed

    def _candidates(self) -> list[tuple[VendorTool, str]]:
        """Return the chosen tool and its path; without a chosen tool, all installed tools and their paths."""
        tools = self._tools if self._chosen is None else (self._chosen,)
        return [(tool, path) for tool in tools if (path := self._find(tool.program))]

    def _read(self, tool: VendorTool, path: str, deadline: float, timeout: float) -> HostGpus:
        late = Output("", f"{tool.program} does not answer within {timeout:g} s", hangs=True)
        outputs = [self._query(tool.queries[0], path, deadline, late)]
        for query in tool.queries[1:]:  # only the first query must succeed
            outputs.append(self._query(query, path, deadline, late) if outputs[0].text else Output(""))
        problem = outputs[0].problem or next((output.problem for output in outputs if output.hangs), "")
        try:
            gpus = [owners.with_owners(gpu) for gpu in tool.parse([output.text for output in outputs])[:MAX_GPUS]]
        except ValueError as error:
            return _reading(tool, (), problem or f"{tool.program}: {error}")
        possible = [gpu for gpu in gpus if gpu.is_possible()]
        if len(possible) < len(gpus):
            problem = problem or f"{tool.program}: it prints numbers of a GPU that cannot be true"
        return _reading(tool, possible, problem)

    def _query(self, query: Query, path: str, deadline: float, late: Output) -> Output:
        """Return the output of a query; `late` if it does not end before the deadline."""
        if query.is_constant and query.arguments in self._constant:
            return Output(self._constant[query.arguments])
        remaining = deadline - self._clock()
        if remaining <= 0:
            return late
        output = self._run((path, *query.arguments), remaining)
        if output.hangs and self._clock() >= deadline:
            return late
        if query.is_constant and not output.problem:
            self._constant[query.arguments] = output.text
        return output


def _reading(tool: VendorTool, gpus: Iterable[Gpu], problem: str) -> HostGpus:
    return HostGpus(tool=tool.program, gpus=tuple(gpus), problem=printable(problem)[:MAX_PROBLEM_LENGTH])
