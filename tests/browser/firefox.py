"""Debian's Firefox, driven over Marionette: its own WebDriver protocol, JSON over TCP, which needs no geckodriver."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.debian import program
from tests.waiting import free_port, wait_until

START_SECONDS = 60.0
COMMAND_SECONDS = 60.0


class Firefox:
    """One window of a running Firefox."""

    def __init__(self, port: int) -> None:
        self._socket = wait_until(lambda: _connected(port), START_SECONDS, description="Firefox to listen")
        self._buffer = b""
        self._id = 0
        self._receive()  # its greeting
        self.send("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})

    def close(self) -> None:
        self._socket.close()

    def open(self, url: str) -> None:
        self.send("WebDriver:Navigate", {"url": url})

    def size(self, width: int, height: int) -> None:
        self.send("WebDriver:SetWindowRect", {"width": width, "height": height})

    def run(self, script: str, *values: Any) -> Any:
        """Return the value of an expression in the page; `arguments` holds the values."""
        return self.send("WebDriver:ExecuteScript", {"script": f"return {script}", "args": values})["value"]

    def shows(self, selector: str, text: str) -> None:
        """Wait until the first element that the selector names has this text in it."""
        script = "document.querySelector(arguments[0])?.innerText ?? ''"
        wait_until(
            lambda: text in self.run(script, selector), COMMAND_SECONDS, description=f"{selector} to show {text!r}"
        )

    def click(self, selector: str) -> None:
        found = self.send("WebDriver:FindElement", {"using": "css selector", "value": selector})["value"]
        self.send("WebDriver:ElementClick", {"id": next(iter(found.values()))})

    def send(self, command: str, values: dict[str, Any]) -> Any:
        """Send a command and return its result; fail with Firefox's error."""
        self._id += 1
        message = json.dumps([0, self._id, command, values]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        assert error is None, f"{command}: {error}"
        return result

    def _receive(self) -> Any:
        """Return the next message: its length in bytes, a colon, and JSON."""
        while b":" not in self._buffer:
            self._buffer += self._read()
        length, _, self._buffer = self._buffer.partition(b":")
        while len(self._buffer) < int(length):
            self._buffer += self._read()
        message, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(message)

    def _read(self) -> bytes:
        data: bytes = self._socket.recv(1 << 16)
        assert data, "Firefox has closed the connection"
        return data


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=COMMAND_SECONDS)
    except ConnectionRefusedError:
        return None


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """Skips the test where Firefox is missing, on a machine other than CI's. `profile`: an empty directory."""
    path, port = program("firefox-esr", "firefox-esr"), free_port()
    (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
    command = [path, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    environment = {**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"}
    with (profile / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        driven = Firefox(port)
        yield driven
        driven.close()
    finally:
        process.terminate()
        process.wait(30)
