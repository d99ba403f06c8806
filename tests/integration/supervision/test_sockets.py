"""The listening socket of a managed [fcgi-program]: held through restarts, closed after a stop."""

import contextlib
import os
import signal
import socket
import sys
import threading

import pytest

from svc.base.errors import CommandError
from svc.supervision.launch import is_taken
from tests.integration.supervision import programs
from tests.integration.supervision.conftest import LAUNCH
from tests.waiting import free_port, wait_until


def router(supervisord, port, word="hello", pause=0, **more):
    supervisord.program(
        "router",
        f"{LAUNCH} --own -- {sys.executable} {programs.__file__} greet {word} {pause}",
        kind="fcgi-program",
        socket=f"tcp://127.0.0.1:{port}",
        max_restarts=100,
        **more,
    )


def ask(port, timeout=10):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        answer = b""
        while part := client.recv(100):
            answer += part
        return answer.decode()


class Clients:
    """Opens one connection after the other, and records the failures."""

    def __init__(self, port):
        self.port, self.served, self.failures = port, 0, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.wait(0.01):
            try:
                assert ask(self.port) == "hello"
                self.served += 1
            except (OSError, AssertionError) as error:
                self.failures.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_clients_that_connect_during_restarts_are_served(supervisord):
    port = free_port()
    router(supervisord, port, pause=0.5)
    supervisord.start().await_state("router", "RUNNING")
    with Clients(port) as clients:
        for _ in range(2):
            supervisord.ctl("restart", "router")
        assert supervisord.restarts("router") == 0
        os.kill(supervisord.client.process("router").pid, signal.SIGTERM)
        wait_until(lambda: supervisord.restarts("router") == 1)
        before = clients.served
        wait_until(lambda: clients.served > before + 5)
    assert clients.failures == []


def test_a_client_during_a_restart_waits_and_is_served(supervisord):
    port = free_port()
    router(supervisord, port, delay=2)
    supervisord.start().await_state("router", "RUNNING")
    os.kill(supervisord.client.process("router").pid, signal.SIGTERM)
    supervisord.await_state("router", "BACKOFF")
    assert ask(port) == "hello"


def test_the_socket_is_closed_after_a_stop_and_opened_at_a_start(supervisord):
    port = free_port()
    router(supervisord, port)
    supervisord.start().await_state("router", "RUNNING")
    supervisord.client.stop("router")
    assert is_taken(port), "a restart by hand would still find it"
    wait_until(lambda: not is_taken(port), 10, "the port is free")
    supervisord.client.start("router")
    assert ask(port) == "hello"


def test_update_moves_the_socket_to_a_new_port(supervisord):
    old, new = free_port(), free_port()
    router(supervisord, old)
    supervisord.start().await_state("router", "RUNNING")
    router(supervisord, new)
    assert supervisord.client.update().changed == ("router",)
    supervisord.await_state("router", "RUNNING")
    assert ask(new) == "hello"
    assert not is_taken(old)


@pytest.mark.parametrize("how", ["supervisorctl", "update", "replace"])
def test_a_changed_program_refuses_no_client(supervisord, how):
    port = free_port()
    router(supervisord, port, pause=0.5)
    supervisord.start().await_state("router", "RUNNING")
    with Clients(port) as clients:
        for stop_wait in (20, 21):
            before = clients.served
            old = supervisord.client.process("router").pid
            router(supervisord, port, pause=0.5, stopwaitsecs=stop_wait)
            if how == "supervisorctl":
                assert "updated process group" in supervisord.ctl("update")
            elif how == "update":
                assert supervisord.client.update().changed == ("router",)
            else:
                assert supervisord.client.changes().changed == ("router",)
                supervisord.client.replace("router")
            assert not supervisord.client.changes()
            assert supervisord.client.process("router").pid != old
            wait_until(lambda before=before: clients.served > before + 5)
    assert clients.failures == []
    supervisord.client.stop("router")
    wait_until(lambda: not is_taken(port), 15, "the port is free: nothing else holds it")


def test_the_changed_program_serves_the_same_port(supervisord):
    port = free_port()
    router(supervisord, port)
    supervisord.start().await_state("router", "RUNNING")
    router(supervisord, port, word="changed")
    supervisord.client.update()
    supervisord.await_state("router", "RUNNING")
    assert ask(port) == "changed"


def test_a_removed_router_releases_its_port(supervisord):
    port = free_port()
    router(supervisord, port)
    supervisord.start().await_state("router", "RUNNING")
    supervisord.remove("router")
    supervisord.client.update()
    assert not is_taken(port)


def test_the_socket_of_a_router_added_later_is_held(supervisord):
    port = free_port()
    supervisord.start()
    router(supervisord, port, delay=1)
    assert supervisord.client.update().added == ("router",)
    supervisord.await_state("router", "RUNNING")
    os.kill(supervisord.client.process("router").pid, signal.SIGTERM)
    supervisord.await_state("router", "BACKOFF")
    assert ask(port) == "hello"


def test_a_reload_binds_anew(supervisord):
    port = free_port()
    router(supervisord, port)
    supervisord.start().await_state("router", "RUNNING")
    first = supervisord.client.process("router").pid
    os.kill(supervisord.process.pid, signal.SIGHUP)
    wait_until(lambda: served_by_another(supervisord, first), 15)
    assert ask(port) == "hello"


def served_by_another(supervisord, first):
    with contextlib.suppress(Exception):
        return supervisord.client.process("router").pid not in (0, first)


def test_an_update_to_a_taken_port_is_reported(supervisord):
    port = free_port()
    router(supervisord, port)
    supervisord.start().await_state("router", "RUNNING")
    with socket.create_server(("127.0.0.1", 0)) as other:
        router(supervisord, other.getsockname()[1])
        with pytest.raises(CommandError, match="router: supervisord failed"):
            supervisord.client.update()
    router(supervisord, port)
    assert supervisord.client.update().added == ("router",)
    supervisord.await_state("router", "RUNNING")
    assert ask(port) == "hello"


def test_the_socket_of_an_unmanaged_program_is_not_held(supervisord, monkeypatch):
    monkeypatch.setenv("SVC_SUPERVISOR_PID", "1")  # as in a shell that another supervisord started
    port = free_port()
    router(supervisord, port, environment="", startretries=1)
    supervisord.start().await_state("router", "RUNNING")
    supervisord.client.stop("router")
    assert not is_taken(port)
