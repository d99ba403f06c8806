"""Two instances on demand that share one simulated GPU, under a real supervisord: they wake, sleep, survive kills."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import requests

from svc.mock.gpu_state import GpuStateFile
from tests.fork_server import SCRIPT
from tests.integration.babysitter.processes import BabysitterClient, SupervisordSite
from tests.processes import members
from tests.waiting import free_port_pair, wait_until

BODY = {"model": "ma", "messages": [{"role": "user", "content": "Hello"}]}
NAMES = ("a", "b")


class Host:
    """A host with one GPU of 80 GB, on which each of the two instances needs 50 GB."""

    def __init__(self, registry, **babysitter):
        self.root = Path(tempfile.mkdtemp(prefix="svc-"))  # a socket's path must be short
        self.registry = registry
        self.gpus = GpuStateFile(self.root / "gpus" / "gpus.json")
        subprocess.run([SCRIPT, "mock-gpus", self.gpus.path.parent, "--gpus", "1", "--memory", "80GB"], check=True)
        self.ports = {name: free_port_pair() for name in NAMES}
        self.clients = {name: BabysitterClient(port) for name, port in self.ports.items()}
        path = f"{self.gpus.path.parent}:{os.environ['PATH']}"
        self.more = "".join(f"{key} = {value}\n" for key, value in babysitter.items())
        self.site = SupervisordSite(self.root, *map(self.toml, NAMES), environ={"PATH": path})

    def toml(self, name):
        return f"""
name = "{name}"
port = {self.ports[name]}
registry_url = "{self.registry.url}"
[resources]
gpus = [0]
gpu_memory = "50GB"
[babysitter]
on_demand = true
min_awake = 0
idle_after = 0
restart_delay = 1
heartbeat_interval = 10
continuation_probe = false
{self.more}
[backend]
type = "mock"
models = ["m{name}"]
args = ["--gpu-memory", "50GB", "--gpus", "0", "--gpu-state", "{self.gpus.path}", "--token-delay", "0.05"]
"""

    def demand(self, name, waiting, oldest=0.0):
        body = {"waiting": waiting, "oldest": oldest, "by": "test"}
        assert self.clients[name].post("/wake", body).status_code == 202

    def demand_until(self, name, condition, description, seconds=30):
        """Send demands, as a router does, until the condition holds."""
        begun, sent = time.monotonic(), float("-inf")

        def holds():
            nonlocal sent
            now = time.monotonic()
            if now - sent >= 1:
                sent = now
                with contextlib.suppress(requests.ConnectionError):  # its babysitter is about to be restarted
                    self.demand(name, 9, oldest=100 + now - begun)
            return condition()

        wait_until(holds, seconds, lambda: f"{description}; {self.describe()}")

    def describe(self):
        """Return what the babysitters know, and the ends of the logs."""
        infos = [f"{name}: {client.get('/info').json()['on_demand']}" for name, client in self.clients.items()]
        logs = [self.site.log(log)[-3000:] for log in ("babysitter_a", "babysitter_b", "server_a", "supervisord")]
        return "\n".join([*infos, *logs])

    def wake(self, name, seconds=30):
        """Wake an instance, and return the statuses that the other one had meanwhile."""
        (other,) = set(NAMES) - {name}
        statuses = []

        def runs():
            statuses.append(self.status(other))
            return self.status(name) == "running"

        self.demand_until(name, runs, f"{name} runs", seconds)
        self.demand(name, 0)
        return list(dict.fromkeys(statuses))

    def begin_wake(self, until="draining"):
        """Wake `a`, then demand `b` until `a` drains, or until the process of `b` runs."""
        self.wake("a")
        begun = {"draining": lambda: self.status("a") == "draining", "starting": lambda: self.pid("b:server")}
        self.demand_until("b", begun[until], until)

    def pid(self, program):
        return self.site.supervisord.process(program).pid

    def kill(self, program):
        os.kill(self.pid(program), signal.SIGKILL)

    def status(self, name):
        return self.registry.status(f"{name}-server")

    def out_of_memory(self):
        return [event for event in self.gpus.events() if event["event"] == "out_of_memory"]

    def end(self):
        self.site.running.end()
        self.site.running.kill_all()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture(scope="module")
def host(running_registry):
    it = Host(running_registry)
    yield it
    it.end()


@pytest.fixture(autouse=True)
def fits(host):
    """No start was ever refused by the GPU."""
    yield
    assert host.out_of_memory() == []


def test_both_are_asleep_with_their_models_until_one_is_wanted(host):
    for name in NAMES:
        host.registry.await_status(f"{name}-server", "asleep")
        metadata = host.registry.client.get(f"{name}-server")["metadata"]
        assert metadata.items() >= {"models": [f"m{name}"], "on_demand": True, "wake_timeout": 600}.items()
        assert metadata["resources"] == {"gpus": [0], "memory": 50 * 10**9}
        assert host.clients[name].health() == 503
    last = host.registry.client.events()[1]
    assert host.wake("a") == ["asleep"]
    assert host.wake("b") == ["running", "draining", "asleep"]
    assert host.gpus.read().used(0) == 50 * 10**9
    kinds = [(event["service"], event["kind"]) for event in host.registry.client.events(last)[0]]
    assert [pair for pair in kinds if pair[1] in ("woken", "slept")] == [
        ("a-server", "woken"),
        ("a-server", "slept"),
        ("b-server", "woken"),
    ]
    assert host.registry.client.get("b-server")["metadata"]["load_seconds"] > 0
    assert (host.root / "var" / "b.models.json").exists()


def test_a_request_in_flight_is_never_cut_off(host):
    host.wake("a")
    url = f"http://127.0.0.1:{host.ports['a']}/v1/chat/completions"
    with requests.post(url, json={**BODY, "stream": True, "max_tokens": 60}, stream=True, timeout=30) as answer:
        lines = answer.iter_lines()
        next(lines)
        host.demand_until("b", lambda: host.status("a") == "draining", "a drains")
        rest = list(lines)
    assert b"data: [DONE]" in rest
    host.wake("b")


def test_sleep_by_hand(host):
    host.wake("b")
    assert host.clients["b"].post("/sleep", {}).status_code == 202
    host.registry.await_status("b-server", "asleep")
    assert host.clients["b"].get("/info").json()["on_demand"]["slept"]["reason"] == "put to sleep by an operator"


@pytest.mark.long
@pytest.mark.parametrize("program", ["a:babysitter", "b:babysitter", "a:server", "b:server"])
def test_a_wake_ends_well_although_a_program_is_killed_in_the_middle_of_it(host, program):
    host.begin_wake("starting" if program == "b:server" else "draining")
    host.kill(program)
    host.wake("b", seconds=60)
    assert host.status("a") == "asleep"
    host.wake("a")


@pytest.mark.long
def test_after_a_kill_of_supervisord_both_wake_again(host):
    host.begin_wake()
    os.kill(host.site.running.process.pid, signal.SIGKILL)
    host.site.running.process.wait(10)
    wait_until(lambda: not members(host.site.running.process.pid), 20, "nothing is left of its programs")
    assert host.gpus.read().used(0) == 0
    host.site.start()
    host.registry.await_status("b-server", "asleep")
    host.wake("b")
    host.wake("a")


@pytest.fixture
def vllm_host(running_registry, host):
    """A host whose engines sleep by themselves. The instances have the names of `host`, which has ended."""
    # A program that supervisord has just started loses the signal that ends it.
    wait_until(lambda: all(map(host.status, NAMES)), description="the babysitters report")
    host.end()
    for service in running_registry.client.services():  # those of a babysitter that was killed belong to it for a while
        running_registry.client.deregister(service["name"])
    it = Host(running_registry, sleep='"vllm"')
    yield it
    it.end()


@pytest.mark.long
def test_engines_that_sleep_by_themselves_are_never_restarted(vllm_host):
    host = vllm_host
    host.wake("a")
    host.wake("b")
    pids = {name: host.pid(f"{name}:server") for name in NAMES}
    for name in ("a", "b", "a"):
        host.wake(name)
    assert {name: host.pid(f"{name}:server") for name in NAMES} == pids
    assert host.out_of_memory() == []
    host.kill("b:server")  # while it sleeps: nothing starts it, because the other one has its memory
    wait_until(lambda: host.site.supervisord.process("b:server").state == "STOPPED", 15, "b is stopped")
    host.registry.await_status("b-server", "asleep")  # its babysitter notices a moment after supervisord
    host.wake("b")
    assert host.out_of_memory() == []
