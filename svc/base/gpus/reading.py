"""Reads the GPUs of this machine with the vendor's tool that is installed."""

from svc.base.gpus.gpu import HostGpus

TIMEOUT_SECONDS = 5.0


def read_gpus(timeout: float = TIMEOUT_SECONDS) -> HostGpus | None:
    """Read this machine's GPUs now; return None if no vendor's tool is in PATH.

    A tool that fails, or that does not answer within `timeout` seconds, gives a reading without GPUs and with a
    `problem`. Under gevent, other greenlets run meanwhile.
    """
    return None
