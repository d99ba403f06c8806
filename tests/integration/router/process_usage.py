"""The descriptors and the memory of a process."""

from pathlib import Path

from tests.integration.router.routers import Router


def private_memory_kb(relay: Router) -> int:
    """Kilobytes that belong to the worker alone."""
    lines = Path(f"/proc/{relay.worker()}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def descriptors_in_use(relay: Router) -> int:
    """Return the router's descriptors without those of idle connections to instances.

    How many of these there are depends on the machine: on a busy one, streams end before the router sees that their
    clients have left.
    """
    line = next(x for x in relay.get("/metrics").text.splitlines() if x.startswith("svc_router_idle_connections "))
    return descriptor_count(relay) - round(float(line.split()[1]))


def descriptor_count(relay: Router) -> int:
    return len(list(Path(f"/proc/{relay.worker()}/fd").iterdir()))
