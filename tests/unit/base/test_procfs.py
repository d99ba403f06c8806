"""What /proc says of processes and sockets that this test has made."""

import os
import socket
import subprocess
import sys

import pytest

from svc.base import procfs
from tests.waiting import wait_until


@pytest.fixture
def child():
    """A process that waits, whose command line has a secret, an empty argument and a blank."""
    code = "import sys; sys.stdin.read()"
    command = [sys.executable, "-c", code, "--api-key", "geheim", "", "a b"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"SVC_TEST": "ä"}) as process:
        wait_until(lambda: "geheim" in procfs.arguments(process.pid), description="the exec")
        yield process
        process.stdin.close()


def test_a_process_is_described(child):
    stat = procfs.stat(child.pid)
    assert (stat.parent, stat.session, stat.has_ended) == (os.getpid(), os.getsid(0), False)
    assert child.pid in procfs.process_ids()
    assert procfs.arguments(child.pid)[-4:] == ["--api-key", "geheim", "", "a b"]
    assert procfs.environment(child.pid) == ["SVC_TEST=ä".encode()]


def test_a_command_is_shown_without_its_secrets(child):
    assert procfs.shown_command(child.pid).endswith("--api-key ***  a b")


def test_a_zombie_has_ended_and_has_no_command_line(child):
    child.stdin.close()
    wait_until(lambda: procfs.stat(child.pid).has_ended)
    assert procfs.arguments(child.pid) == []


def test_a_process_that_is_not_there_raises_oserror():
    with pytest.raises(FileNotFoundError):
        procfs.stat(2**22 + 1)


def test_the_owner_of_a_listening_socket_is_found():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (row,) = [row for row in procfs.tcp_sockets() if row.port == port and row.is_listener]
        assert row in procfs.tcp_sockets(listeners_only=True)
        assert (os.getpid(), row.inode) in procfs.socket_owners({row.inode})


def test_connections_are_left_out_of_the_listeners():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        inode = str(os.fstat(client.fileno()).st_ino)
        assert [row.is_listener for row in procfs.tcp_sockets() if row.inode == inode] == [False]
        assert inode not in [row.inode for row in procfs.tcp_sockets(listeners_only=True)]


def test_open_files_are_counted_against_their_limit():
    before = procfs.open_file_count(os.getpid())
    with open(os.devnull):
        assert procfs.open_file_count(os.getpid()) == before + 1
    limit = procfs.open_file_limit(os.getpid())
    assert limit is None or limit > before


def test_ancestors_lead_from_a_process_to_the_first():
    code = "import os, sys; sys.path[:0] = sys.argv[1:]; from svc.base.procfs import *; print(*ancestors(os.getpid()))"
    output = subprocess.run([sys.executable, "-c", code, *sys.path], capture_output=True, text=True, check=True).stdout
    pids = [int(pid) for pid in output.split()]
    assert pids[1] == os.getpid()
    assert pids[1:] == list(procfs.ancestors(os.getpid()))
    assert pids[-1] == 1


def test_the_credentials_of_a_process(child):
    own = procfs.credentials(os.getpid())
    assert (own.uid, own.gid) == (os.geteuid(), os.getegid())
    assert own.groups == {os.getegid(), *os.getgroups()}
    assert procfs.credentials(child.pid) == own


@pytest.mark.parametrize(
    ("credentials", "needed"),
    [
        (procfs.Credentials(7, 70, frozenset({70}), reads_any_file=False), False),  # the owner
        (procfs.Credentials(8, 80, frozenset({80, 70}), reads_any_file=False), False),  # of the group
        (procfs.Credentials(8, 80, frozenset({80}), reads_any_file=False), True),
        (procfs.Credentials(0, 0, frozenset({0}), reads_any_file=True), False),
        (procfs.Credentials(0, 0, frozenset({0}), reads_any_file=False), True),  # a container's root
    ],
)
def test_only_a_stranger_needs_the_rights_of_all_users(credentials, needed):
    status = os.stat_result((0o644, 1, 1, 1, 7, 70, 1, 0, 0, 0))
    assert credentials.needs_world_access(status) is needed


def test_the_age_of_a_process_counts_from_its_start(child):
    assert 0 <= procfs.age_seconds(child.pid) < procfs.age_seconds(os.getpid())
