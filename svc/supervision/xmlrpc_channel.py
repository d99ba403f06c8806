"""Calls supervisord's XML-RPC methods over its unix socket, and raises svc's errors for failures."""

import http.client
import socket
import xmlrpc.client
from collections.abc import Callable
from typing import Any

from svc.base.errors import CommandError, Unavailable

# supervisord's fault codes, and their meaning for users
UNKNOWN_METHOD, SHUTDOWN_STATE, BAD_NAME, ALREADY_STARTED, NOT_RUNNING, SUCCESS = 1, 6, 10, 60, 70, 80
MEANINGS = {
    BAD_NAME: "there is no such program",
    20: "its command is not found",
    21: "its command cannot be run",
    30: "supervisord failed to do it",
    40: "it ended while it started; its log tells why",
    50: "it could not be started; its log tells why",
    90: "it is there already",
    91: "it is still running",
    92: "supervisord refuses the configuration",
}


class SupervisordLate(Unavailable):
    """supervisord has not answered in time, because it is starting, busy or stopped."""


class XmlRpcChannel:
    """A client of supervisord's XML-RPC server at `url` ("unix:///path/supervisor.sock"), one connection per call."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        if not url.startswith("unix://"):
            raise CommandError(f"{url!r}: not a supervisord's unix socket; expected unix:///PATH")
        self.url = url
        self._timeout_seconds = timeout_seconds

    def call(self, method: str, *params: Any, timeout_seconds: float | None = None) -> Any:
        """Call a method and return its result.

        Raise Fault if supervisord refuses, CommandError if the method fails, Unavailable if supervisord does not
        answer.
        """
        transport = UnixTransport(self.url.removeprefix("unix://"), timeout_seconds or self._timeout_seconds)
        try:
            with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport) as server:
                function: Callable[..., Any] = getattr(server, method)
                return function(*params)
        except TimeoutError:
            raise SupervisordLate(f"{self.url}: supervisord did not answer {method} in time") from None
        except OSError as error:
            raise Unavailable(f"{self.url}: no supervisord answers: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise Unavailable(f"{self.url}: cannot understand supervisord's answer: {error!r}") from None
        except xmlrpc.client.ProtocolError:  # the method raised, for example because supervisord cannot bind a socket
            about = params[0] if params else self.url
            raise CommandError(f"{about}: supervisord failed in {method}; supervisord.log tells why") from None

    def call_extension(self, method: str, *params: Any, about: str = "") -> Any:
        """Call a method of the extension and return its result; `about` is the program or group of the call.

        Raise CommandError if supervisord refuses or lacks the extension, Unavailable if it does not answer.
        """
        try:
            return self.call(method, *params)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                raise CommandError(
                    f"{self.url}: this supervisord lacks [rpcinterface:svc], or an older svc started it; "
                    "start it anew with `svc down` and `svc up`"
                ) from None
            raise self.error_of(fault, about) from None

    def error_of(self, fault: xmlrpc.client.Fault, about: str = "") -> CommandError | Unavailable:
        """Return svc's error for a fault; `about` is the program or group of the call."""
        if fault.faultCode == SHUTDOWN_STATE:
            return Unavailable(f"{self.url}: supervisord is shutting down")
        meaning = MEANINGS.get(fault.faultCode, "")
        text = fault.faultString if not meaning else f"{meaning} ({fault.faultString})"
        return CommandError(f"{about or self.url}: {text}")


class UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_seconds = timeout_seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return UnixConnection(self._path, self._timeout_seconds)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
