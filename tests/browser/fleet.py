"""A whole site for the browser: registry, router, two mocks of one model, and a real model or a mock of it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.sites import Site, http
from tests.waiting import free_port_pair, wait_until

TOKEN = "the-operators-word"
SITE_NAME = "Berlin lab"  # as the documents' pictures show it
DEMO, REAL = "demo", "gemma-3-270m"
MOCKS = {"alpha-server", "beta-server"}
TIMES = {"heartbeat_interval": 1, "restart_delay": 2}


class Fleet(Site):
    """`mocks` are the ports of alpha and beta."""

    mocks: dict[str, int]

    def behave(self, name: str, **flags: object) -> None:
        answer = http.post(f"http://127.0.0.1:{self.mocks[name]}/mock/behave", json=flags, timeout=10)
        assert answer.ok, answer.text

    def look(self, name: str) -> dict:
        """Return an instance as the router reports it."""
        services = http.get(f"{self.router}/services", timeout=5).json()["services"]
        return next((service for service in services if service["name"] == name), {})


@contextmanager
def fleet(real: bool) -> Iterator[Fleet]:
    """Yield a site; unless `real`, a mock takes the place of the real model, whose start takes seconds of CPU."""
    site = Fleet(Path(tempfile.mkdtemp(prefix="ui-", dir="/tmp")))
    try:
        _write(site, real)
        site.svc("up", timeout=180)
        wait_until(
            lambda: site.routed() == {*MOCKS, "gemma-server"}, timeout=60, description="all instances to be routed to"
        )
        yield site
    finally:
        site.end()


def _write(site: Fleet, real: bool) -> None:
    config = site.root / "config"
    (config / "token").write_text(TOKEN)
    settings = config / "svc.toml"
    text = settings.read_text().replace("[registry]", '[registry]\ntoken_file = "config/token"')
    settings.write_text(text.replace("[router]", f'[router]\nsite_name = "{SITE_NAME}"'))
    pace = ("--first-token-delay", "0.05", "--token-delay", "0.02", "--tokens", "30")
    site.mocks = {f"{name}-server": site.mock(name, DEMO, *pace, **TIMES) for name in ("alpha", "beta")}
    if real:
        port = free_port_pair()
        command = ["--host", "127.0.0.1", "--port", str(port), "--alias", REAL, "--threads", "1"]
        command += ["--ctx-size", "2048", "--parallel", "1", "--temp", "0"]
        site.toml("gemma", port, f'command = "svc llama"\nargs = {command!r}', heartbeat_interval=1)
    else:
        site.mock("gemma", REAL, heartbeat_interval=1)
