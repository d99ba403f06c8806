"""The processes that fork servers for tests hold nothing that a worker, which gevent patches later, must not have."""

import json
import subprocess
import sys

import pytest

from tests.fork_server import ROOT, SERVER_MODULES, WORKER_MODULES

# Imports the modules, patches, and prints what of the standard library they still hold, as [module, name].
PROGRAM = """
import importlib, json, sys
for name in sys.argv[2].split():
    importlib.import_module(name)
master = set(sys.modules)
for name in sys.argv[1].split():
    importlib.import_module(name)
from gevent import monkey
from svc.base import gevent_patch
gevent_patch.patch_all()
replaced = {id(old) for names in monkey.saved.values() for old in names.values() if callable(old)}
print(json.dumps(sorted(
    [module, name]
    for module in set(sys.modules) - master - set(monkey.saved)
    if not module.startswith(("gevent", "_"))  # the originals are those of _socket and its like
    for name, value in vars(sys.modules[module]).items()
    if id(value) in replaced or isinstance(value, type) and {id(base) for base in value.__mro__[1:]} & replaced
)))
"""
# Held for a few statements that never wait, so that no other greenlet asks for it; or the original is wanted.
ALLOWED = {
    ("jinja2.utils", "Lock"),
    ("prometheus_client.metrics", "Lock"),
    ("prometheus_client.registry", "Lock"),
    ("prometheus_client.values", "Lock"),
    ("svc.registry.heartbeat_server", "_socket_type"),
    ("svc.registry.kept_connections", "_epoll_type"),
    ("werkzeug.routing.map", "Lock"),
}


def kept_originals(server: str, *more: str) -> set[tuple[str, str]]:
    """Return what the modules of a server's workers, and `more`, hold of what gevent replaces."""
    modules = " ".join([*WORKER_MODULES[server], *more])
    command = [sys.executable, "-c", PROGRAM, modules, " ".join(SERVER_MODULES[server])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {(module, name) for module, name in json.loads(done.stdout)}


@pytest.mark.parametrize("server", WORKER_MODULES)
def test_a_worker_s_modules_keep_nothing_that_gevent_replaces(server):
    assert kept_originals(server) <= ALLOWED


def test_a_module_that_keeps_what_gevent_replaces_is_found():
    assert ("urllib3.util.ssl_", "SSLContext") in kept_originals("router", "urllib3.util.ssl_")
