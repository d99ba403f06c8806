import socket
import threading

import pytest

from svc.base.errors import CommandError, Unavailable
from svc.supervision.client import GroupChanges, SupervisordClient
from tests.waiting import wait_until


def test_programs_have_the_names_of_supervisorctl(supervisord):
    supervisord.program("q", "sleep 1000", group="qwen")
    supervisord.program("router", "sh -c 'exit 4'", max_restarts=0)
    supervisord.start()
    supervisord.await_state("router", "FATAL")
    supervisord.await_state("qwen:server", "RUNNING")
    processes = supervisord.client.processes()
    assert set(processes) == {"qwen:server", "router"}
    server = processes["qwen:server"]
    assert (server.name, server.group, server.state) == ("server", "qwen", "RUNNING")
    assert 0 < server.start <= server.now
    assert server.logfile == str(supervisord.root / "q.log")
    assert f"pid {server.pid}" in server.description
    assert processes["router"].pid == 0
    assert "gave up" in processes["router"].spawnerr
    assert set(supervisord.client.restarts()) == {"qwen:server", "router"}
    assert supervisord.client.pid() == supervisord.process.pid


def test_start_and_stop_return_whether_they_changed_anything(supervisord):
    supervisord.program("q", "sleep 1000", group="qwen", autostart="false")
    client = supervisord.start().client
    for name in ("qwen:server", "qwen:*"):
        assert client.start(name)
        assert not client.start(name)
        assert client.process("qwen:server").state == "RUNNING"
        assert client.stop(name)
        assert not client.stop(name)
        assert client.process("qwen:server").state == "STOPPED"
    client.restart("qwen:server")
    client.stop_all()
    assert client.process("qwen:server").state == "STOPPED"


@pytest.mark.parametrize("name", ["bad", "bad-group:*"])
def test_a_failed_start_is_reported(supervisord, name):
    supervisord.program("bad", "sh -c 'exit 4'", max_restarts=0, autostart="false")
    supervisord.program("x", "sh -c 'exit 4'", max_restarts=0, autostart="false", group="bad-group")
    with pytest.raises(CommandError, match="bad.*its log tells why"):
        supervisord.start().client.start(name)


def test_an_unknown_name_and_a_missing_command_are_reported(supervisord):
    supervisord.program("x", "no-such-command", autostart="false")
    client = supervisord.start().client
    with pytest.raises(CommandError, match="nobody: there is no such program"):
        client.process("nobody")
    with pytest.raises(CommandError, match="x: its command is not found.*no-such-command"):
        client.start("x")


def test_update_adds_changes_and_removes(supervisord):
    for name in ("stays", "changes", "goes"):
        supervisord.program(name, "sleep 1000")
    client = supervisord.start().client
    supervisord.program("changes", "sleep 2000")
    supervisord.program("comes", "sleep 1000")
    supervisord.remove("goes")
    before = client.process("stays")
    expected = GroupChanges(added=("comes",), changed=("changes",), removed=("goes",))
    assert client.changes() == expected
    assert client.changes() == expected, "looking changes nothing"
    assert client.update() == expected
    assert not client.changes()
    assert set(client.processes()) == {"stays", "changes", "comes"}
    assert client.process("stays").pid == before.pid


def test_a_bad_file_is_refused_and_changes_nothing(supervisord):
    supervisord.program("good", "sleep 1000")
    client = supervisord.start().client
    supervisord.write("bad", "[program:bad]\nstartsecs=soon\n")
    with pytest.raises(CommandError, match="refuses the configuration.*bad"):
        client.update()
    assert set(client.processes()) == {"good"}


def test_threads_share_one_client(supervisord):
    supervisord.program("q", "sleep 1000")
    client = supervisord.start().client
    names = []
    threads = [threading.Thread(target=lambda: names.append(client.process("q").name)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["q"] * 8


def test_a_shutdown_is_a_state_and_no_failure(supervisord):
    supervisord.program("slow", "sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'", stopwaitsecs=3)
    supervisord.program("dies", "sh -c 'exit 1'", max_restarts=3, delay=60)
    client = supervisord.start().client
    supervisord.await_state("dies", "BACKOFF")
    supervisord.await_state("slow", "RUNNING")
    client.shutdown()
    assert client.state() == "SHUTDOWN"
    with pytest.raises(Unavailable, match="shutting down"):
        client.restarts()
    with pytest.raises(Unavailable, match="shutting down"):
        client.processes()
    supervisord.process.wait(10)
    with pytest.raises(Unavailable, match="no supervisord answers"):
        client.state()


def test_no_supervisord_is_one_clear_line(tmp_path):
    with pytest.raises(Unavailable, match=f"unix://{tmp_path}/s.sock: no supervisord answers: No such file"):
        SupervisordClient(f"unix://{tmp_path}/s.sock").state()


def test_a_supervisord_that_hangs_is_a_timeout(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.sock"))
        server.listen()
        with pytest.raises(Unavailable, match="did not answer supervisor.getState in time"):
            SupervisordClient(f"unix://{tmp_path}/s.sock", timeout_seconds=0.2).state()


def test_a_supervisord_without_the_extension_is_reported(supervisord):
    conf = supervisord.root / "supervisord.conf"
    text = conf.read_text()
    begin, end = text.index("[rpcinterface:svc]"), text.index("[supervisorctl]")
    conf.write_text(text[:begin] + text[end:])
    client = supervisord.start().client
    with pytest.raises(CommandError, match="lacks .rpcinterface:svc., .*; start it anew with"):
        wait_until(client.restarts)
