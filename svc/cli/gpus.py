"""`svc gpus`: show the GPUs of all hosts, and which instances hold their memory."""

import sys
import time

import click
import msgspec

from svc.base.gpus.reading import TIMEOUT_SECONDS
from svc.cli.options import HERE, console
from svc.cli.registry_options import Access, registry_options
from svc.protocol.gpu_use import use_by_host
from svc.site import gpu_overview
from svc.terminal import gpu_table
from svc.terminal.output import echo, echo_json
from svc.terminal.screen import width_of


@click.command("gpus")
@click.option("--local", is_flag=True, help="this host's GPUs, without the registry")
@click.option("--json", "as_json", is_flag=True, help="for programs")
@registry_options
def command(access: Access, local: bool, as_json: bool) -> None:
    """Show the GPUs of all hosts, and which instances hold their memory.

    On each host, one babysitter reads the GPUs every 5 seconds with the vendor's tool: nvidia-smi,
    amd-smi, rocm-smi, mx-smi or npu-smi. If the registry does not answer or lists none, the command
    shows those of this host. It exits with 1 if it can read neither.

    \b
    MEMORY    used and total; FREE is the rest
    BUSY      share of the time in which the GPU works
    ERRORS    errors that the hardware could not correct (yellow); empty: not reported
    HELD BY   the instances whose processes hold memory; a process of no instance has a line
              with its pid
    A red row is a GPU that the tool reports as broken, or a tool that fails.

    \b
    --json prints one object:
      hosts     service (the babysitter that reports), hostname, age (seconds), tool, problem,
                gpus: index, uuid, name, memory_total, memory_used (bytes), utilization (0 to 1),
                temperature (degrees Celsius), power (watts), errors, fault,
                processes: pid, memory, instance ("": none), command
      source    the registry's URL, or "this host"
      note      why the source is not the registry, or ""
    """

    def read() -> gpu_overview.Reading | None:
        return gpu_overview.read_this_host(HERE.var, TIMEOUT_SECONDS, time.time())

    if local:
        overview = gpu_overview.own_overview(read)
        if overview is None:
            echo(f"svc: {gpu_overview.NO_TOOL}", err=True)
            sys.exit(1)
    else:
        overview = gpu_overview.overview(access.client(read=True), read)
    if overview.note:
        echo(overview.note, err=True)
    if as_json:
        echo_json(msgspec.to_builtins(overview._asdict()), indent=2)
    elif overview.hosts:
        out = console()
        for line in gpu_table.gpu_lines(use_by_host(overview.hosts), width_of(out)):
            out.print_line(line)
