"""The descriptors and the memory of a process."""

from pathlib import Path

from tests.integration.router.routers import Router


def private_memory_kb(relay: Router) -> int:
    """Kilobytes that belong to the worker alone."""
    lines = Path(f"/proc/{relay.worker()}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def descriptor_count(relay: Router) -> int:
    return len(list(Path(f"/proc/{relay.worker()}/fd").iterdir()))
