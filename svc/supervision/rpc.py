"""What the RPC namespace `svc` offers, beside supervisord's own."""

import json
import platform
import time
from typing import TYPE_CHECKING, Any

from supervisor.options import VERSION, make_namespec, split_namespec
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, RPCError

from svc.base import version
from svc.supervision import restarts
from svc.supervision.program_config import described
from svc.supervision.restarts import Count

if TYPE_CHECKING:
    from svc.supervision.extension import Policy

ALIVE = (ProcessStates.STARTING, ProcessStates.RUNNING)
XMLRPC_MAX = 2**31 - 1


class Interface:
    """supervisord calls any public method of this object."""

    def __init__(self, policy: "Policy") -> None:
        self._policy = policy

    def getRestarts(self) -> dict[str, dict[str, Any]]:  # noqa: N802 - as supervisord's own methods are named
        """Restarts of the programs that have a limit

        @return struct {name: {restarts, max_restarts, failed, reason}}
        """
        self._refuse_when_leaving()
        return dict(self._restarts())

    def getPrograms(self) -> str:  # noqa: N802
        """The configuration that runs, of every group and program, whatever the files say by now

        @return string JSON {root, groups}: XML-RPC holds neither large numbers nor control characters
        """
        self._refuse_when_leaving()
        groups = described(group.config for group in self._groups().values())
        return json.dumps({"root": self._policy.supervisord.options.here, "groups": groups})

    def replaceProgram(self, name: str, signal_name: str = "") -> bool:  # noqa: N802
        """Start a program with the configuration that was last read; the rest of its group runs on

        It must be stopped, or be one of ours and end by the signal: then it starts as soon as it has ended.

        @param string name         as supervisorctl writes it
        @param string signal_name  such as HUP; none for one that is stopped
        @return boolean            always true unless error
        """
        self._refuse_when_leaving()
        group_name, program = split_namespec(name)
        group = self._groups().get(group_name)
        wanted = wanted_group(self._policy.supervisord, group_name)
        config = next((c for c in wanted.process_configs if c.name == program), None) if wanted else None
        if group is None or config is None or program not in group.processes:
            raise RPCError(Faults.BAD_NAME, name)
        self._policy.replace(group, group.processes[program], config, signal_name)
        return True

    def getVersion(self) -> dict[str, str]:  # noqa: N802
        """Which svc this is, and supervisor and Python: what is installed now may be newer

        @return struct {svc, supervisor, python}
        """
        return {"svc": version.running(), "supervisor": VERSION, "python": platform.python_version()}

    def endProcess(self, name: str, pid: int, reason: str) -> bool:  # noqa: N802
        """End a process that is of no use any more as if it had crashed: its restart counts and keeps its delay

        It gets its stop signal, and KILL after stopwaitsecs. The reason is told in its place.

        @param string name    Name of the process ('group:name')
        @param int pid        The one that is meant: another life of the program is left alone
        @param string reason  Why, for `supervisorctl status`
        @return boolean       Whether it is being ended; False when that process runs no more
        """
        self._refuse_when_leaving()
        group, program = split_namespec(name)
        process = getattr(self._groups().get(group), "processes", {}).get(program)
        if process is None:
            raise RPCError(Faults.BAD_NAME, name)
        if process.pid != pid or not pid or process.get_state() not in ALIVE:
            return False
        self._policy.endings.begin(process, reason, time.monotonic())
        self._policy.logger.info(f"svc: {name}: ending it: {reason}")
        return True

    def _groups(self) -> Any:
        return self._policy.supervisord.process_groups

    def _refuse_when_leaving(self) -> None:
        if self._policy.leaving():
            raise RPCError(Faults.SHUTDOWN_STATE)

    def _restarts(self) -> Any:
        for group in self._groups().values():
            for process in group.processes.values():
                try:
                    limits = restarts.limits(process.config.environment)
                except ValueError:  # logged when it started
                    continue
                if limits is not None:
                    count = self._policy.counts.get(full_name(process), Count())
                    yield (
                        full_name(process),
                        {
                            "restarts": min(count.restarts, XMLRPC_MAX),
                            "max_restarts": min(limits.max_restarts, XMLRPC_MAX),
                            "failed": count.failed,
                            "reason": count.reason,
                        },
                    )


def wanted_group(supervisord: Any, name: str) -> Any:
    """The group's configuration as it was last read, which may not run yet; None where there is none."""
    return next((config for config in supervisord.options.process_group_configs if config.name == name), None)


def full_name(process: Any) -> str:
    """As supervisorctl writes it: "qwen:server", but "router" where group and program have one name."""
    return make_namespec(process.group.config.name, process.config.name)
