"""The errors of supervisord as svc's own, which name the program and the meaning."""

from xmlrpc.client import Fault

import pytest

from svc.base.errors import CommandError, Unavailable
from svc.supervision.xmlrpc_channel import BAD_NAME, SHUTDOWN_STATE, XmlRpcChannel

URL = "unix:///site/var/supervisor.sock"


@pytest.fixture
def channel():
    return XmlRpcChannel(URL, timeout_seconds=1)


def test_an_address_that_is_no_unix_socket_is_refused():
    with pytest.raises(CommandError, match="expected unix:///PATH"):
        XmlRpcChannel("http://localhost:9001", timeout_seconds=1)


def test_a_known_fault_is_explained_for_its_program(channel):
    error = channel.error_of(Fault(BAD_NAME, "BAD_NAME: qwem"), "qwem")
    assert isinstance(error, CommandError)
    assert error.message == "qwem: there is no such program (BAD_NAME: qwem)"


def test_an_unknown_fault_keeps_supervisords_own_text(channel):
    assert channel.error_of(Fault(99, "SOMETHING_NEW")).message == f"{URL}: SOMETHING_NEW"


def test_a_supervisord_that_is_shutting_down_counts_as_unavailable(channel):
    assert isinstance(channel.error_of(Fault(SHUTDOWN_STATE, "SHUTDOWN_STATE")), Unavailable)


def test_no_supervisord_is_an_error_with_the_path(tmp_path):
    channel = XmlRpcChannel(f"unix://{tmp_path}/supervisor.sock", timeout_seconds=1)
    with pytest.raises(Unavailable, match=r"supervisor\.sock: no supervisord answers: No such file"):
        channel.call("supervisor.getState")
