"""A rollout under the benchmark's own load: as much as the router takes, and 128 streams at once."""

import asyncio
import importlib.util
import os
import sys
import threading
from collections import Counter

import pytest

from tests.e2e.rollouts import BOTH
from tests.e2e.sites import ROOT, Site
from tests.waiting import free_port_pair, wait_until

BENCH = ROOT / "ops" / "bench"
INSTANCE = """import asyncio, sys
sys.path.insert(0, {bench!r})
from backends import Backend
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Backend, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
"""
bench = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None and not os.environ.get("CI"), reason="not installed: uvloop"
)


@bench
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["small", "large", "stream"])
def test_three_rollouts_under_the_benchmark_s_load_fail_no_request(site: Site, name: str, monkeypatch):
    (site.root / "instance.py").write_text(INSTANCE.format(bench=str(BENCH)))
    for instance in ("one", "two"):
        port = free_port_pair()
        site.toml(instance, port, f"command = {sys.executable!r}\nargs = ['instance.py', '{port}']")
    site.svc("up")
    monkeypatch.syspath_prepend(str(BENCH))
    from load import Tally, load
    from scenarios import SCENARIOS

    over = threading.Event()
    tallies: list[Tally] = []

    def drive() -> None:
        while not over.is_set():  # in rounds: the load itself ends by its clock
            tallies.append(asyncio.run(load(site.router_port, SCENARIOS[name], 5)))

    driving = threading.Thread(target=drive, daemon=True)
    driving.start()
    wait_until(lambda: tallies, timeout=60, description="the first round")
    for _ in range(3):
        site.svc("rollout", "restart", "all", timeout=200)
        assert site.routed() == BOTH
    over.set()
    driving.join(120)
    failures: Counter[str] = sum((tally.failures for tally in tallies), Counter())
    answered = sum(len(tally.took) for tally in tallies)
    print(f"{name}: {answered} answers in {len(tallies)} rounds")
    assert failures == {}
    assert answered > 100
