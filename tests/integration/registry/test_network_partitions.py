"""Network partitions: three hosts, two registries on one Redis. Routers keep serving, and all agree again after."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import requests

from tests.integration.redis_server import MISSING_REDIS
from tests.integration.registry.hosts import Host, Network, missing
from tests.integration.registry.writers import Workers
from tests.waiting import wait_until

REGISTRY, ROUTER, INSTANCE, REDIS = 18000, 8000, 8100, 6379
AGREEMENT_TIMEOUT_SECONDS = 2.0  # after a link has healed
LONG_CUT_SECONDS = 6.0  # TCP's retries have become rare by then
SHARED_MODEL = "shared"  # every instance has this model
MARKED_INSTANCE = "marked-server"  # gets no requests; its drain mark is what changes
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
    """Three hosts: Redis on the third, registries on the first two; a router, an instance and a babysitter on each."""
    reason = missing() or ("" if shutil.which("redis-server") else MISSING_REDIS)
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    network = Network(3, tmp_path_factory.mktemp("hosts"))
    try:
        start(network.hosts)
        wait_until(lambda: register(network.hosts[0]), 40, "the first registry accepts a registration")
        wait_until(lambda: agreed(network.hosts), 40, "all agree at the start")
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
        values = {"number": host.number, "address": host.address, "port": INSTANCE, "registries": listed}
        toml.write_text(TOML.format(**values))
        models = f"own{host.number},{SHARED_MODEL}"
        host.svc("mock", "--name", f"i{host.number}", "--host", "0.0.0.0", "--port", INSTANCE, "--models", models)
        host.svc("babysitter", "--config-file", toml)
        host.svc("router", "--port", ROUTER, "--registry-url", ",".join(registries))


def register(host: Host) -> bool:
    metadata = {"type": "openai-api", "models": ["marked"]}
    address = {"host": host.address, "url": f"http://{host.address}:{INSTANCE}", "port": INSTANCE, "hostname": "h"}
    body = {"name": MARKED_INSTANCE, **address, "status": "running", "lease_seconds": 3600, "metadata": metadata}
    with suppress(requests.RequestException):
        return host.ask("POST", f"http://127.0.0.1:{REGISTRY}/services", json=body).ok
    return False


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.5, LONG_CUT_SECONDS])
@pytest.mark.parametrize("cut", [(1,), (2,), (3,), (1, 2), (1, 2, 3)], ids=str)
def test_routers_keep_serving_and_all_agree_after_a_partition(hosts, cut, seconds):
    """A drain mark changes during the cut if a connected registry has its Redis, else after the links have healed."""
    wait_until(lambda: agreed(hosts), 10, "all agree before")
    away = [host for host in hosts if host.number in cut]
    able = [] if 3 in cut else [host for host in hosts[:2] if host not in away]
    marked = [] if drained(hosts) else [MARKED_INSTANCE]
    served = {host.number: 0 for host in hosts}
    with traffic(hosts, served):
        for host in away:
            host.cut()
        for host in able:
            wait_until(lambda host=host: set_drained(host, bool(marked)), description=f"{host.name} accepts the mark")
        time.sleep(seconds)
        during = dict(served)
        for host in away:
            host.heal()
        healed = time.monotonic()
        if not able:
            wait_until(
                lambda: set_drained(hosts[0], bool(marked)),
                AGREEMENT_TIMEOUT_SECONDS,
                "a registry accepts the mark",
                interval=0.02,
            )
        wait_until(
            lambda: agreed(hosts) and drained(hosts) == marked, AGREEMENT_TIMEOUT_SECONDS, "all agree", interval=0.02
        )
        took = time.monotonic() - healed
        wait_until(lambda: all(served[n] > during[n] + 5 for n in served), description="all serve")
    print(f"cut {cut} for {seconds} s: all agreed after {took:.2f} s")
    assert took < AGREEMENT_TIMEOUT_SECONDS
    assert min(during.values()) > 0, "each router has served while links were cut"


def set_drained(host: Host, drained: bool) -> bool:
    """Drain or undrain the marked instance at the registry of this host; return whether it accepted."""
    with suppress(requests.RequestException):
        verb = "drain" if drained else "undrain"
        return host.ask("POST", f"http://127.0.0.1:{REGISTRY}/services/{MARKED_INSTANCE}/{verb}", timeout=1).ok
    return False


@contextmanager
def traffic(hosts: list[Host], served: dict[int, int]) -> Iterator[None]:
    """Send requests to the router of each host all the time: for the instance there, and for the shared model."""

    def ask(host: Host, model: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
        answer = host.ask("POST", f"http://127.0.0.1:{ROUTER}/v1/chat/completions", json=body)
        assert answer.status_code == 200, f"{host.name} has no instance for {model}: {answer.text}"
        if model != SHARED_MODEL:
            served[host.number] += 1

    requested = [(host, model) for host in hosts for model in (f"own{host.number}", SHARED_MODEL)]
    with Workers(pause=0.05).at_work([lambda target=target: ask(*target) for target in requested]):
        yield


def agreed(hosts: list[Host]) -> bool:
    """Return whether both registries and all routers list the same instances in the same state."""
    with suppress(requests.RequestException, KeyError, ValueError):
        lists = state(hosts)
        return len(lists[0]) == len(hosts) + 1 and all(instances == lists[0] for instances in lists)
    return False


def state(hosts: list[Host]) -> list[list[tuple[str, str, bool]]]:
    return [listed_instances(host, REGISTRY) for host in hosts[:2]] + [listed_instances(host, ROUTER) for host in hosts]


def drained(hosts: list[Host]) -> list[str]:
    return [name for name, _, marked in listed_instances(hosts[0], ROUTER) if marked]


def listed_instances(host: Host, port: int) -> list[tuple[str, str, bool]]:
    """Return the instances that a registry or a router lists: name, status, whether drained."""
    listed = host.ask("GET", f"http://127.0.0.1:{port}/services", timeout=1).json()["services"]
    return sorted((s["name"], s["status"], s["drained"]) for s in listed if s["name"].endswith("-server"))
