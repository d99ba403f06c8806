"""A snapshot of a site in which everything is healthy, and processes as supervisord reports them."""

from svc.site.components import Component
from svc.site.site_snapshot import SiteSnapshot
from svc.supervision.client import Process, Restarts

COMPONENTS = [
    Component("registry", "registry", "127.0.0.1", (18000,), ("registry",)),
    Component("router", "router", "127.0.0.1", (8000,), ("router",), "http://localhost:18000"),
    Component(
        "qwen", "babysitter", "localhost", (8100, 8101), ("qwen:server", "qwen:babysitter"), "http://localhost:18000"
    ),
]
SERVICE = {"status": "running", "is_healthy": True, "drained": False, "metadata": {"models": ["m"]}}


def process(name: str, state: str = "RUNNING", **more) -> Process:
    group, _, own = name.partition(":")
    fields = {
        "pid": 7,
        "start": 100,
        "stop": 0,
        "now": 160,
        "exitstatus": 0,
        "spawnerr": "",
        "description": "",
        "logfile": "",
    }
    return Process(**{"name": own or group, "group": group, "state": state, **fields, **more})


HEALTHY_SITE = SiteSnapshot(
    components=COMPONENTS,
    supervisord=1,
    processes={name: process(name) for component in COMPONENTS for name in component.programs},
    restarts={"qwen:server": Restarts(2, 5, False)},
    registry={"qwen": SERVICE, "qwen-server": SERVICE},
    registry_url="http://127.0.0.1:18000",
    router={"qwen-server": {"healthy": True, "models": ["m"]}},
    routing=True,
)
