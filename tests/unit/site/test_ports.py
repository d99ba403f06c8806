import os
import socket
import subprocess
import sys

import pytest

from svc.base.errors import ConfigError
from svc.site.components import Component
from svc.site.ports import ancestors, refuse_taken


def test_each_taken_port_is_reported_with_its_holder():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(ConfigError) as raised:
            refuse_taken(
                [
                    Component("a", "registry", "127.0.0.1", (port,), ("a",)),
                    Component("b", "router", "", (port,), ("b",)),
                ]
            )
    assert len(raised.value.problems) == 2
    assert raised.value.problems[0].startswith(f"a: port {port} is taken by ")
    assert f"(pid {os.getpid()}); stop it" in raised.value.problems[0]


def test_a_free_port_is_no_problem():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    refuse_taken([Component("a", "registry", "127.0.0.1", (port,), ("a",))])


def test_ancestors_lead_from_a_process_to_the_first():
    code = (
        "import os, sys; sys.path[:0] = sys.argv[1:]; from svc.site import ports; print(*ports.ancestors(os.getpid()))"
    )
    child = subprocess.run([sys.executable, "-c", code, *sys.path], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in child.stdout.split()]
    assert pids[1] == os.getpid()
    assert pids[1:] == list(ancestors(os.getpid()))
    assert pids[-1] == 1
