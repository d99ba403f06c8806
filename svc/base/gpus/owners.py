"""Finds the instance to which a process on a GPU belongs, and its command."""

import msgspec

from svc.base import procfs
from svc.base.gpus.gpu import MAX_COMMAND_LENGTH, MAX_GPU_PROCESSES, MAX_TEXT_LENGTH, Gpu, GpuProcess
from svc.base.printable import printable

GROUP_NAME = (
    b"SUPERVISOR_GROUP_NAME="  # supervisord sets these for its programs, and their child processes inherit them
)
SERVER_MARK = b"SUPERVISOR_PROCESS_NAME=server"
MAX_ANCESTORS = 32


def with_owners(gpu: Gpu) -> Gpu:
    """Return the GPU with `instance` and `command` set in its processes; those with the most memory come first."""
    largest = sorted(gpu.processes, key=lambda process: (-(process.memory or 0), process.pid))[:MAX_GPU_PROCESSES]
    return msgspec.structs.replace(gpu, processes=tuple(map(_with_owner, largest)))


def _with_owner(process: GpuProcess) -> GpuProcess:
    instance, command = instance_of(process.pid), command_of(process.pid)
    return msgspec.structs.replace(process, instance=instance, command=command)


def instance_of(pid: int) -> str:
    """Return the name of the instance that a process belongs to, or "".

    A variable in the environment shows the instance. A program that changes its process title, as vLLM's workers do,
    may have overwritten its environment. So the environments of its ancestors and of the leader of its process group
    are read, too: supervisord makes a process group for each program.
    """
    try:
        group = procfs.stat(pid).group
    except OSError:  # the process has ended, or runs outside of this container, where it is not visible
        return ""
    candidates = (pid, group, *list(procfs.ancestors(pid))[1:MAX_ANCESTORS])
    return next(filter(None, map(_marked_instance, candidates)), "")


def _marked_instance(pid: int) -> str:
    try:
        environment = procfs.environment(pid)
    except OSError:  # it has ended, or belongs to another user
        return ""
    if SERVER_MARK not in environment:
        return ""
    names = (value[len(GROUP_NAME) :] for value in environment if value.startswith(GROUP_NAME))
    return printable(next(names, b"").decode(errors="replace"))[:MAX_TEXT_LENGTH]


def command_of(pid: int) -> str:
    """Return the command line of a process, without secrets and short enough for a report; "" if it is not visible."""
    try:
        return printable(procfs.shown_command(pid))[:MAX_COMMAND_LENGTH]
    except OSError:
        return ""
