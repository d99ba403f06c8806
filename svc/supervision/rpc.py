"""The XML-RPC namespace `svc`: the methods that the extension adds to supervisord's own methods."""

import json
import platform
import time
from typing import TYPE_CHECKING, Any

from supervisor.options import VERSION, make_namespec, split_namespec
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, RPCError

from svc.base import version
from svc.supervision import restart_limits
from svc.supervision.config_serializer import serialize
from svc.supervision.on_demand.supervised import encode
from svc.supervision.restart_limits import RestartCount

if TYPE_CHECKING:
    from svc.supervision.extension import Extension

ALIVE = (ProcessStates.STARTING, ProcessStates.RUNNING)
XMLRPC_MAX_INTEGER = 2**31 - 1


class RpcInterface:
    """The methods of the namespace. supervisord offers every public method of this object through XML-RPC."""

    def __init__(self, extension: "Extension") -> None:
        self._extension = extension

    def getRestarts(self) -> dict[str, dict[str, Any]]:  # noqa: N802 - as supervisord's own methods are named
        """Return the restarts of the programs that have a restart limit

        @return struct {name: {restarts, max_restarts, failed, reason}}
        """
        self._refuse_when_shutting_down()
        return dict(self._restarts())

    def getPrograms(self) -> str:  # noqa: N802
        """Return the running configuration of every group and program; the files may have changed since

        @return string JSON {root, groups}, because XML-RPC carries neither large numbers nor control characters
        """
        self._refuse_when_shutting_down()
        groups = serialize(group.config for group in self._groups().values())
        return json.dumps({"root": self._extension.supervisord.options.here, "groups": groups})

    def getLogPositions(self) -> str:  # noqa: N802
        """Return where the output of the last two processes of each program begins in its log file

        @return string JSON {name: [[inode, offset], ...]}, the older process first
        """
        positions = self._extension.log_positions
        return json.dumps({name: [[p.inode, p.offset] for p in last_two] for name, last_two in positions.items()})

    def replaceProgram(self, name: str, signal_name: str = "") -> bool:  # noqa: N802
        """Start a program with the configuration that supervisord read last; other programs of its group run on

        A stopped program starts at once. A running program must be managed by svc and end on the signal; it starts
        when it has ended.

        @param string name         as supervisorctl writes it
        @param string signal_name  such as HUP; empty for a stopped program
        @return boolean            always true unless error
        """
        self._refuse_when_shutting_down()
        group_name, program = split_namespec(name)
        group = self._groups().get(group_name)
        group_config = loaded_group(self._extension.supervisord, group_name)
        config = next((c for c in group_config.process_configs if c.name == program), None) if group_config else None
        if group is None or config is None or program not in group.processes:
            raise RPCError(Faults.BAD_NAME, name)
        self._extension.replace(group, group.processes[program], config, signal_name)
        return True

    def getVersion(self) -> dict[str, str]:  # noqa: N802
        """Return the running versions of svc, supervisor and Python; newer versions may be installed

        @return struct {svc, supervisor, python}
        """
        return {"svc": version.running(), "supervisor": VERSION, "python": platform.python_version()}

    def endProcess(self, name: str, pid: int, reason: str) -> bool:  # noqa: N802
        """End a process as if it had crashed, so that its restart counts and waits for the restart delay

        The process gets its stop signal, and KILL after stopwaitsecs. The reason replaces its exit status.

        @param string name    Name of the process ('group:name')
        @param int pid        The process to end; a later process of the same program is left alone
        @param string reason  Why, for `supervisorctl status`
        @return boolean       Whether it is being ended; False when that process does not run any more
        """
        self._refuse_when_shutting_down()
        group, program = split_namespec(name)
        process = getattr(self._groups().get(group), "processes", {}).get(program)
        if process is None:
            raise RPCError(Faults.BAD_NAME, name)
        if process.pid != pid or not pid or process.get_state() not in ALIVE:
            return False
        self._extension.forced_restarts.begin(process, reason, time.monotonic())
        self._extension.logger.info(f"svc: {name}: ending it: {reason}")
        return True

    def onDemand(self, name: str, facts: str) -> str:  # noqa: N802
        """Report the facts about an instance on demand; start its program if it is wanted and there is room for it

        @param string name   Name of the instance's program ('qwen:server')
        @param string facts  JSON, see svc.supervision.on_demand.instance_facts.InstanceFacts
        @return string       JSON, see svc.supervision.on_demand.instance_facts.Order: what the babysitter has to do
        """
        self._refuse_when_shutting_down()
        return encode(self._extension.instances.report(name, facts))

    def putToSleep(self, name: str) -> bool:  # noqa: N802
        """Stop a program that has the order `release` and no requests in flight, so that it frees its GPUs

        If its engine can sleep, the program is not stopped; true then means that the engine may be put to sleep.

        @param string name  Name of the instance's program ('qwen:server')
        @return boolean     False if it has to run on, for example because no instance waits for its GPUs any more
        """
        self._refuse_when_shutting_down()
        return self._extension.instances.put_to_sleep(name)

    def getOffer(self, name: str) -> str:  # noqa: N802
        """Return what it would cost to wake an instance, without waking it

        @param string name  Name of the instance's program ('qwen:server')
        @return string      JSON {possible, now, victims, seconds, idle_seconds, reason}
        """
        self._refuse_when_shutting_down()
        return encode(self._extension.instances.offer(name))

    def getOnDemand(self) -> str:  # noqa: N802
        """Return the memory reserved on each GPU, and the state of each instance that has resources or is on demand

        @return string  JSON {hostname, gpus, instances, parallel_loads}
        """
        self._refuse_when_shutting_down()
        return encode(self._extension.instances.state())

    def _groups(self) -> Any:
        return self._extension.supervisord.process_groups

    def _refuse_when_shutting_down(self) -> None:
        if self._extension.is_shutting_down():
            raise RPCError(Faults.SHUTDOWN_STATE)

    def _restarts(self) -> Any:
        for group in self._groups().values():
            for process in group.processes.values():
                try:
                    limits = restart_limits.read_limits(process.config.environment)
                except ValueError:  # the extension logged the invalid limits when the program started
                    continue
                if limits is not None:
                    count = self._extension.counts.get(full_name(process), RestartCount())
                    yield (
                        full_name(process),
                        {
                            "restarts": min(count.restarts, XMLRPC_MAX_INTEGER),
                            "max_restarts": min(limits.max_restarts, XMLRPC_MAX_INTEGER),
                            "failed": count.failed,
                            "reason": count.reason,
                        },
                    )


def loaded_group(supervisord: Any, name: str) -> Any:
    """Return a group's configuration as supervisord last read it from the files; None if it is not in the files."""
    return next((config for config in supervisord.options.process_group_configs if config.name == name), None)


def full_name(process: Any) -> str:
    """Return a program's name in supervisorctl's notation: GROUP:NAME, or only NAME if the group has the same name."""
    return make_namespec(process.group.config.name, process.config.name)
