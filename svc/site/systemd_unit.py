"""A systemd unit that runs a site, and the systemctl commands that replace `svc up` and `svc down`. Pure.

The hints of all commands, of the status and of the doctor pass through `SystemdUnit.with_commands`.
"""

import dataclasses
import re
import shlex
from collections.abc import Iterator

SERVICE_SUFFIX = ".service"
CONFIGURATION_PATTERN = re.compile(r"(?:^|\s)(?:-c|--configuration)[\s=]+(\"[^\"]*\"|'[^']*'|\S+)")
SVC_PATTERN_PREFIX = r"(?<![\w/.-])(?:sudo -u \S+ )?(?:\S*/)?"  # matches an optional sudo, and an optional path of svc
DOWN_PATTERN = rf"{SVC_PATTERN_PREFIX}svc down\b(?! --)"
UP_PATTERN = rf"{SVC_PATTERN_PREFIX}svc up\b(?! --)(?!` \(pid)"  # skips the text about another `svc up`
RESTART_PATTERN = rf"{DOWN_PATTERN}(?:` and `| && |, then )svc up\b"
START_AFTER_END_PATTERN = rf"(?<=shutdown && sleep 5 && ){UP_PATTERN}"


@dataclasses.dataclass(frozen=True, slots=True)
class SystemdUnit:
    """The unit of a site.

    `is_running` means that its supervisord runs. `systemctl` is the command, with sudo or --user if this unit needs it.
    """

    name: str  # the name without .service
    is_running: bool
    systemctl: str = "sudo systemctl"

    def command(self, verb: str) -> str:
        """Return the systemctl command for this unit and a verb: start, stop, restart or reload."""
        return f"{self.systemctl} {verb} {shlex.quote(self.name)}"

    def with_commands(self, text: str) -> str:
        """Return the text of a hint with systemctl commands in place of `svc up` and `svc down`.

        For a running unit, `reload` replaces `svc up`, because a reload of the unit calls `svc apply`.
        """
        verbs = {
            RESTART_PATTERN: "restart",
            START_AFTER_END_PATTERN: "start",
            DOWN_PATTERN: "stop",
            UP_PATTERN: "reload" if self.is_running else "start",
        }
        for pattern, verb in verbs.items():
            command = self.command(verb).replace("\\", r"\\")  # the name may contain backslashes
            text = re.sub(pattern, command, text)
        return text


def service_of_cgroup(text: str) -> tuple[str, bool]:
    """Return the name of the unit in the content of /proc/PID/cgroup, and whether it belongs to a user's own systemd.

    The name is empty if the process is not in the cgroup of a service.
    """
    for line in text.splitlines():
        hierarchy, controllers, path = line.split(":", 2)
        services = [part.removesuffix(SERVICE_SUFFIX) for part in path.split("/") if part.endswith(SERVICE_SUFFIX)]
        if services and (hierarchy == "0" or controllers == "name=systemd"):
            is_user_unit = services[0].startswith("user@")
            return next(iter(services[1:] if is_user_unit else services[-1:]), ""), is_user_unit
    return "", False


def supervisord_configurations(text: str) -> Iterator[str]:
    """Yield the configuration files of the supervisord processes that a unit file starts."""
    for command in re.findall(r"^ExecStart=(.*\bsupervisord\b.*)$", text.replace("\\\n", " "), re.M):
        yield from (path.strip("\"'") for path in CONFIGURATION_PATTERN.findall(command))
