"""`svc mock-gpus`: create simulated GPUs."""

from pathlib import Path

import click

from svc.cli.mock import Size
from svc.terminal.output import echo


@click.command("mock-gpus", context_settings={"show_default": True})
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--gpus", type=click.IntRange(1, 64), metavar="N", default=2, help="The number of GPUs.")
@click.option("--memory", type=Size(), metavar="SIZE", default="80GB", help="The memory of each GPU.")
def command(directory: Path, gpus: int, memory: int) -> None:
    """Create simulated GPUs, for trying out models on demand.

    DIRECTORY gets the file gpus.json, in which mocks take memory, and a program nvidia-smi, which
    prints the GPUs of that file in the form of the real one:

    \b
        svc mock-gpus var/gpus --gpus 1 --memory 80GB
        export SVC_MOCK_GPUS=$PWD/var/gpus/gpus.json PATH=$PWD/var/gpus:$PATH
        svc mock --gpu-memory 38GB --load-time 5
        nvidia-smi -L

    A mock that does not fit ends with an error of CUDA, as an engine does. The memory of a mock
    that has ended is free. A second call empties the GPUs.
    """
    from svc.mock import nvidia_smi  # here, so that --help does not load the mock
    from svc.mock.gpu_state import GpuStateFile

    directory.mkdir(parents=True, exist_ok=True)
    file = GpuStateFile(directory / "gpus.json")
    file.create(gpus, memory)
    program = nvidia_smi.install(directory, file.path)
    echo(f"{gpus} GPU{'s' * (gpus > 1)} in {file.path}, shown by {program}")
