"""The configuration that a real supervisord reports, and the replacement of one program of a group."""

import os
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.rollout.diff import difference
from svc.site.program_groups import SupervisordFiles, environ_of, expected_groups
from tests.integration.supervision.conftest import HEAD
from tests.waiting import wait_until

AWKWARD = r"""[program:awkward]
stopsignal=QUIT
command=sh -c 'sleep "1000"; echo 100%%; true' "%(here)s/a b" ; a remark
directory=%(here)s/..
stdout_logfile=%(here)s/../awkward.log
stdout_logfile_maxbytes=5GB
umask=022
environment=SVC_MAX_RESTARTS="3",SVC_RESTART_DELAY="0",HOME_WAS="%(ENV_HOME)s",BELL="@"
""".replace("@", "\x01\x7f é")
OTHERS = """[program:plain]
command=sleep 1000
autorestart=true
exitcodes=0,2
[eventlistener:ear]
command=sleep 1000
events=TICK_5,PROCESS_STATE
[fcgi-program:web]
command=sleep 1000
socket=unix://%(here)s/../w.sock
socket_backlog=7
[group:qwen]
programs=q
[program:q]
process_name=server
command=sleep 1000
"""


def test_running_groups_equal_those_of_the_same_files(supervisord):
    conf, conf_d = supervisord.root / "supervisord.conf", supervisord.root / "conf.d"
    conf.write_text(HEAD.replace("*.conf.d", "conf.d/*.conf"))
    conf_d.mkdir()
    (conf_d / "awkward.conf").write_text(AWKWARD)
    (conf_d / "others.conf").write_text(OTHERS)
    supervisord.start()
    running = supervisord.client.configuration()
    assert running.root == str(supervisord.root)
    awkward = running.groups["awkward"].programs["awkward"]
    assert awkward.environment["BELL"] == "\x01\x7f é"
    assert awkward.environment["HOME_WAS"] == os.environ["HOME"]
    assert awkward.keys["stopsignal"] == "QUIT"
    assert awkward.keys["stdout_logfile_maxbytes"] == str(5 << 30)
    assert awkward.keys["umask"] == "022"
    assert running.groups["plain"].programs["plain"].keys["exitcodes"] == "0,2"
    assert running.groups["web"].keys["socket"] == f"unix://{supervisord.root}/w.sock"
    assert list(running.groups["qwen"].programs) == ["qwen:server"]

    there = SupervisordFiles(conf.read_bytes(), {path: path.read_bytes() for path in conf_d.iterdir()})
    groups = expected_groups(there, running.root, environ_of(supervisord.client))
    assert difference(running.groups, groups) == []
    (conf_d / "others.conf").write_text(OTHERS.replace("exitcodes=0,2", "exitcodes=0"))
    groups = expected_groups(
        SupervisordFiles(there.supervisord_conf, {p: p.read_bytes() for p in there.conf_d}), running.root, {"HOME": "/"}
    )
    changed = {(e.key, e.old, e.new) for c in difference(running.groups, groups) for p in c.programs for e in p.edits}
    assert changed == {("exitcodes", "0,2", "0"), ("environment.HOME_WAS", os.environ["HOME"], "/")}
    assert supervisord.client.changes().changed == ("plain",)


def test_changed_files_do_not_change_the_running_configuration(supervisord):
    supervisord.program("q", "sleep 1000", group="qwen")
    supervisord.start()
    before = supervisord.client.configuration()
    supervisord.program("q", "sleep 2000", group="qwen")
    assert supervisord.client.changes().changed == ("qwen",)
    assert supervisord.client.configuration() == before
    supervisord.client.update()
    assert supervisord.client.configuration().groups["qwen"].programs["qwen:server"].keys["command"] == "sleep 2000"


def two(supervisord, sidecar):
    text = "[group:qwen]\nprograms=a,b\n"
    for program, name, command in (("a", "server", "sleep 1000"), ("b", "babysitter", sidecar)):
        text += f"[program:{program}]\nprocess_name={name}\ncommand={command}\n"
    supervisord.write("qwen", text)


def test_one_program_of_a_group_is_replaced_and_the_other_runs_on(supervisord):
    two(supervisord, "sleep 1000")
    client = supervisord.start().client
    supervisord.await_state("qwen:server", "RUNNING")
    server = client.process("qwen:server").pid
    two(supervisord, "sleep 2000")
    assert client.changes().changed == ("qwen",)
    client.replace("qwen:babysitter")
    assert not client.changes(), "supervisord agrees that nothing is left to do"
    assert client.process("qwen:server").pid == server
    new = client.process("qwen:babysitter").pid
    wait_until(lambda: b"2000" in Path(f"/proc/{new}/cmdline").read_bytes())


def test_a_program_is_replaced_when_it_ends_by_the_signal(supervisord):
    supervisord.program("q", "sleep 1000", group="qwen", delay=60)
    client = supervisord.start().client
    supervisord.await_state("qwen:server", "RUNNING")
    old = client.process("qwen:server").pid
    supervisord.program("q", "sleep 2000", group="qwen", delay=60)
    assert client.changes().changed == ("qwen",)
    client.replace_babysitter("qwen:server")
    wait_until(
        lambda: client.process("qwen:server").pid not in (0, old),
        description="at once, not after the delay of a crash",
    )
    assert not client.changes()
    assert supervisord.restarts("qwen:server") == 0
    supervisord.ctl("signal", "KILL", "qwen:server")
    supervisord.await_state("qwen:server", "BACKOFF")
    assert "restart 1 of 2 in 60 s" in client.process("qwen:server").spawnerr, "the next exit is one of its own"
    supervisord.program("q", "sleep 3000", group="qwen", delay=60)
    client.changes()
    client.replace_babysitter("qwen:server")
    supervisord.await_state("qwen:server", "RUNNING")


def test_a_refused_replacement_is_reported_and_changes_nothing(supervisord):
    supervisord.program("q", "sleep 1000", group="qwen")
    supervisord.write("other", "[program:other]\ncommand=sleep 1000\n")
    client = supervisord.start().client
    supervisord.await_state("other", "RUNNING")
    supervisord.await_state("qwen:server", "RUNNING")
    with pytest.raises(CommandError, match="other: it is still running"):
        client.replace_babysitter("other")
    with pytest.raises(CommandError, match="nobody: there is no such program"):
        client.replace_babysitter("nobody")
    supervisord.remove("q")
    client.changes()
    with pytest.raises(CommandError, match="qwen:server: there is no such program"):
        client.replace_babysitter("qwen:server")
    assert client.process("qwen:server").state == "RUNNING"


def test_an_instance_on_demand_is_replaced_without_being_started(supervisord):
    environment = 'SVC_MAX_RESTARTS="0",SVC_RESTART_DELAY="0",SVC_ON_DEMAND="1"'
    more = {"group": "qwen", "autostart": "false", "environment": environment}
    supervisord.program("q", "sh -c 'exit 3'", **more)
    client = supervisord.start().client
    client.start("qwen:server", wait=False)
    supervisord.await_state("qwen:server", "FATAL")
    supervisord.program("q", "sleep 2000", **more)
    client.changes()
    client.replace("qwen:server")
    assert client.process("qwen:server").state == "STOPPED", "its failed start counts no more"
    assert not client.changes()
    client.start("qwen:server", wait=False)
    pid = client.process("qwen:server").pid
    wait_until(lambda: b"2000" in Path(f"/proc/{pid}/cmdline").read_bytes())
