"""Programs for supervisord to run: `python programs.py NAME ARGS...`."""

import os
import select
import signal
import socket
import subprocess
import sys
import time


def listen(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


def holder(port: str) -> None:
    """Hold a port for ever."""
    _sock = listen(int(port))
    signal.pause()


def parent(port: str, title: str = "") -> None:
    """Run a server whose child holds its port; `title`: overwrite the environment, as a process title does."""
    environ = {} if title else dict(os.environ)
    with subprocess.Popen([sys.executable, __file__, "holder", port], env=environ):
        signal.pause()


def babysit(group: str) -> None:
    """Watch `group`:server, and kill its processes when supervisord dies."""
    from svc.supervision.client import SupervisordClient
    from svc.supervision.orphans import kill_instance

    url = os.environ["SUPERVISOR_SERVER_URL"]
    known = SupervisordClient(url).process(f"{group}:server").pid
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print(kill_instance(group, url, known))))
    print("watching", known, flush=True)
    signal.pause()


def greet(word: str, pause: str) -> None:
    """Answer each connection on descriptor 0 with `word`; after SIGTERM answer none, and end `pause` seconds later."""
    signals = []
    signal.signal(signal.SIGTERM, lambda *_: signals.append(True))
    server = socket.socket(fileno=0)
    while not signals:
        if select.select([server], [], [], 0.1)[0]:
            connection, _ = server.accept()
            connection.sendall(word.encode())
            connection.close()
    time.sleep(float(pause))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
