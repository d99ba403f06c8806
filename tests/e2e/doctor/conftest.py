import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.doctor.diagnosis import Cures
from tests.e2e.sites import BIN, SharedSite, Site
from tests.waiting import free_port_pair, wait_until

# The server of `one` fails with the text of the file `ill`, and loads its model as long as there is a file `slow`.
SERVER = """
if test -e {root}/ill; then cat {root}/ill; exit 1; fi
while test -e {root}/slow; do sleep 0.2; done
exec {svc} mock --name one --port {port} --models m
"""


def start_two(site: Site) -> None:
    """Start an instance that falls ill, of the model `m`, and one that no cure may disturb, of the model `n`."""
    port = free_port_pair()
    script = SERVER.format(root=site.root, svc=BIN / "svc", port=port)
    site.toml(
        "one", port, f'command = "sh"\nargs = {json.dumps(["-c", script])}', heartbeat_interval=1, restart_delay=8
    )
    site.mock("two", "n", heartbeat_interval=1, restart_delay=1)
    site.svc("up")
    wait_until(lambda: site.routed() == {"one-server", "two-server"}, 30, "the router to serve both instances")


@pytest.fixture(scope="package")
def shared() -> Iterator[SharedSite]:
    """One site for the files of this directory, which follow one another in each process: tests/conftest.py."""
    site = SharedSite(start_two)
    yield site
    site.end()


@pytest.fixture
def ailing(shared: SharedSite) -> Iterator[Site]:
    """A healthy site. What a test breaks it also cures, so that the next test has the same site."""
    site = shared.open()
    yield site
    if site.control_answers() and any(count.restarts for count in site.supervisord.restarts().values()):
        site.run("supervisorctl", "restart", "one:*", status=None)  # resets the counts, which doctor would report
        wait_until(lambda: "one-server" in site.routed(), 30, "the router to serve the instance again")
    shared.end_if_changed()


@pytest.fixture
def second() -> Iterator[Site]:
    """An empty site like `site`, on another machine as far as a test is concerned."""
    made = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")))
    yield made
    made.end()


@pytest.fixture
def cures(request: pytest.FixtureRequest) -> Iterator[Cures]:
    """The cures that the test's mark `cures` declares, each as `tests/doctor_cures.py` lists it; all are applied."""
    mark = request.node.get_closest_marker("cures")
    declared = Cures(mark.args if mark else ())
    yield declared
    if not getattr(request.node, "failed", False):
        assert not declared.remaining, "declared, and not applied"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note that a test has failed, whose cures need not have been applied then."""
    if call.when == "call" and call.excinfo is not None:
        item.failed = True
    return (yield)
