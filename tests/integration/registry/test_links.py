"""Three hosts, two registries on one Redis; links are cut and healed. Routers serve on, and soon all agree again."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import requests

from tests.integration.redis_server import MISSING
from tests.integration.registry.hosts import Host, Network, missing
from tests.integration.registry.writers import Crew
from tests.waiting import wait_until

REGISTRY, ROUTER, INSTANCE, REDIS = 18000, 8000, 8100, 6379
AGREE = 2.0  # seconds after a link has healed
LONG = 6.0  # seconds: TCP's retries have become rare by then
SHARED = "shared"  # a model of all instances
MARKED = "marked-server"  # one more, which nobody asks: whether it is drained is what changes
TOML = """name = "i{number}"
host = "{address}"
port = {port}
registry_url = [{registries}]
[babysitter]
heartbeat_interval = 1
[backend]
type = "mock"
models = ["own{number}", "shared"]
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> Iterator[list[Host]]:
    """Redis on the third, registries on the first two; a router, an instance and its babysitter on each."""
    reason = missing() or ("" if shutil.which("redis-server") else MISSING)
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    network = Network(3, tmp_path_factory.mktemp("hosts"))
    try:
        start(network.hosts)
        wait_until(lambda: register(network.hosts[0]), 40, "the first registry takes one more")
        wait_until(lambda: agreed(network.hosts), 40, "all begin to agree")
        yield network.hosts
    except BaseException:
        for host in network.hosts:
            print(f"--- {host.name}\n{host.log()}")
        raise
    finally:
        network.close()


def start(hosts: list[Host]) -> None:
    h1, h2, h3 = hosts
    h3.run("redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--port", str(REDIS), "--save", "")
    store = f"redis://{h3.address}:{REDIS}/0"
    for host in (h1, h2):
        host.svc("registry", "--host", "0.0.0.0", "--port", REGISTRY, "--insecure", "--store", store)
    registries = [f"http://{host.address}:{REGISTRY}" for host in (h1, h2)]
    for host in hosts:
        listed = ", ".join(f'"{url}"' for url in registries)
        toml = host.directory / "i.toml"
        told = {"number": host.number, "address": host.address, "port": INSTANCE, "registries": listed}
        toml.write_text(TOML.format(**told))
        models = f"own{host.number},{SHARED}"
        host.svc("mock", "--name", f"i{host.number}", "--host", "0.0.0.0", "--port", INSTANCE, "--models", models)
        host.svc("babysitter", "--config-file", toml)
        host.svc("router", "--port", ROUTER, "--registry-url", ",".join(registries))


def register(host: Host) -> bool:
    about = {"type": "openai-api", "models": ["marked"]}
    place = {"host": host.address, "url": f"http://{host.address}:{INSTANCE}", "port": INSTANCE, "hostname": "h"}
    body = {"name": MARKED, **place, "status": "running", "lease_seconds": 3600, "metadata": about}
    with suppress(requests.RequestException):
        return host.ask("POST", f"http://127.0.0.1:{REGISTRY}/services", json=body).ok
    return False


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.5, LONG])
@pytest.mark.parametrize("cut", [(1,), (2,), (3,), (1, 2), (1, 2, 3)], ids=str)
def test_routers_serve_on_and_soon_all_agree(hosts, cut, seconds):
    """Something changes behind the cut, where a registry has its Redis there, else as soon as it has healed."""
    wait_until(lambda: agreed(hosts), 10, "all agree before")
    away = [host for host in hosts if host.number in cut]
    able = [] if 3 in cut else [host for host in hosts[:2] if host not in away]
    marked = [] if drained(hosts) else [MARKED]
    served = {host.number: 0 for host in hosts}
    with traffic(hosts, served):
        for host in away:
            host.cut()
        for host in able:
            wait_until(lambda host=host: mark(host, bool(marked)), description=f"{host.name} takes it")
        time.sleep(seconds)
        during = dict(served)
        for host in away:
            host.heal()
        healed = time.monotonic()
        if not able:
            wait_until(lambda: mark(hosts[0], bool(marked)), AGREE, "a registry takes it", interval=0.02)
        wait_until(lambda: agreed(hosts) and drained(hosts) == marked, AGREE, "all agree", interval=0.02)
        took = time.monotonic() - healed
        wait_until(lambda: all(served[n] > during[n] + 5 for n in served), description="all serve")
    print(f"cut {cut} for {seconds} s: all agreed after {took:.2f} s")
    assert took < AGREE
    assert min(during.values()) > 0, "each router has served while links were cut"


def mark(host: Host, drained: bool) -> bool:
    """Drains or undrains it at the registry of this host; whether that was done."""
    with suppress(requests.RequestException):
        verb = "drain" if drained else "undrain"
        return host.ask("POST", f"http://127.0.0.1:{REGISTRY}/services/{MARKED}/{verb}", timeout=1).ok
    return False


@contextmanager
def traffic(hosts: list[Host], served: dict[int, int]) -> Iterator[None]:
    """On each host somebody asks its router, all the time, for the instance next to it and for any one."""

    def ask(host: Host, model: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
        answer = host.ask("POST", f"http://127.0.0.1:{ROUTER}/v1/chat/completions", json=body)
        assert answer.status_code == 200, f"{host.name} has nobody for {model}: {answer.text}"
        if model != SHARED:
            served[host.number] += 1

    asking = [(host, model) for host in hosts for model in (f"own{host.number}", SHARED)]
    with Crew(pause=0.05).at_work([lambda asked=asked: ask(*asked) for asked in asking]):
        yield


def agreed(hosts: list[Host]) -> bool:
    """Both registries and all routers tell the same of the same instances."""
    with suppress(requests.RequestException, KeyError, ValueError):
        at = state(hosts)
        return len(at[0]) == len(hosts) + 1 and all(one == at[0] for one in at)
    return False


def state(hosts: list[Host]) -> list[list[tuple[str, str, bool]]]:
    return [told(host, REGISTRY) for host in hosts[:2]] + [told(host, ROUTER) for host in hosts]


def drained(hosts: list[Host]) -> list[str]:
    return [name for name, _, marked in told(hosts[0], ROUTER) if marked]


def told(host: Host, port: int) -> list[tuple[str, str, bool]]:
    """The instances that a registry or a router lists: name, state, whether drained."""
    listed = host.ask("GET", f"http://127.0.0.1:{port}/services", timeout=1).json()["services"]
    return sorted((s["name"], s["status"], s["drained"]) for s in listed if s["name"].endswith("-server"))
