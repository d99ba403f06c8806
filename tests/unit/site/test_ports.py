import os
import socket
import subprocess
import sys

import pytest

from svc.base.errors import ConfigError
from svc.base.file_owner import user_name
from svc.config.settings_file import load_settings
from svc.render.generate import render_to
from svc.render.paths import RenderPaths
from svc.site.components import Component
from svc.site.ports import hidden_holder, refuse_taken


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


def test_a_port_of_another_svc_site_is_reported_with_its_path_and_the_command(tmp_path):
    (tmp_path / "config").mkdir()
    render_to(
        RenderPaths(tmp_path, tmp_path / "conf.d", tmp_path), [], load_settings(flags={"registry": {"port": 23456}})
    )
    script = tmp_path / "supervisord"
    script.write_text(
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); input()"
    )
    command = [sys.executable, str(script), "-c", str(tmp_path / "supervisord.conf")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        port = int(other.stdout.readline())
        with pytest.raises(ConfigError) as raised:
            refuse_taken([Component("a", "registry", "127.0.0.1", (port,), ("a",))])
        named, free = hidden_holder(23456), hidden_holder(23457)
        other.stdin.write("\n")
    [problem] = raised.value.problems
    assert f"a: port {port} is taken by the svc site in {tmp_path} (pid {other.pid})" in problem
    assert f"`cd {tmp_path} && " in problem
    assert problem.endswith(" down`, or choose another port")
    user = user_name(os.getuid())
    assert (named, free) == (f"the svc site in {tmp_path} (user {user}, pid {other.pid})", "")


def test_a_free_port_is_no_problem():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    refuse_taken([Component("a", "registry", "127.0.0.1", (port,), ("a",))])
