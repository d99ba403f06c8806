"""Where `svc gpus` gets the GPUs from: the registry, or this host."""

import os
import time

import msgspec
import pytest

from svc.base.errors import CommandError, NotFound, Unavailable
from svc.base.gpus.gpu import Gpu, HostGpus
from svc.protocol.gpu_report import READING_FILE, GpuReport, ListedHost
from svc.site.gpu_overview import Reading, overview, own_overview, read_this_host

URL = "http://registry:18000"
READING = HostGpus(tool="nvidia-smi", gpus=(Gpu(index=0, uuid="GPU-0"),))


class Registry:
    """A client whose registry lists these hosts, or raises."""

    def __init__(self, answer):
        self.answer = answer
        self.urls = [URL]
        self.token_file = ""

    def gpus(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def host(hostname="gpu7", service="qwen", age=1.0, uuid="GPU-1"):
    return ListedHost(service=service, age=age, hostname=hostname, tool="nvidia-smi", gpus=(Gpu(index=0, uuid=uuid),))


def unexpected(timeout=0):
    raise AssertionError("this host was read")


def test_the_registry_lists_all_hosts():
    hosts = [host("a"), host("b")]
    assert overview(Registry(hosts), unexpected) == (hosts, URL, "")


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (Unavailable("no registry answers at http://registry:18000"), "no registry answers"),
        (NotFound("no such path"), "is older than this svc"),
        ([], f"no babysitter reports GPUs to {URL}"),
    ],
)
def test_without_an_answer_this_hosts_gpus_are_shown_and_it_is_said_why(answer, note):
    shown = overview(Registry(answer), lambda: Reading(READING, 2.5))
    assert (shown.source, shown.hosts[0].gpus, shown.hosts[0].age) == ("this host", READING.gpus, 2.5)
    assert note in shown.note
    assert shown.note.endswith("these are the GPUs of this host")


def test_without_registry_and_tool_the_error_names_both():
    with pytest.raises(CommandError, match="no registry answers.*no tool that lists GPUs.*nvidia-smi"):
        overview(Registry(Unavailable("no registry answers")), lambda: None)


def test_a_registry_without_gpus_is_no_error():
    shown = overview(Registry([]), lambda: None)
    assert (shown.hosts, shown.source) == ([], URL)
    assert "this host has no tool" in shown.note


def test_this_host_without_a_tool():
    assert own_overview(lambda: None) is None


def test_the_last_reading_of_a_babysitter_spares_a_run_of_the_tool(tmp_path):
    report = GpuReport(hostname="gpu7", tool="nvidia-smi", gpus=READING.gpus, problem="it hangs", interval=5.0)
    path = tmp_path / "gpus.json"
    path.write_bytes(msgspec.json.encode(report))
    now = path.stat().st_mtime
    recent = read_this_host(tmp_path, 1, now + 14, unexpected)
    assert (recent.age, recent.gpus.problem) == (14, "it hangs")
    assert read_this_host(tmp_path, 7, now + 16, lambda timeout: READING) == (READING, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"hostname": "a"}', b"\xff"])
def test_a_file_that_cannot_be_read_is_no_reading(tmp_path, content):
    (tmp_path / "gpus.json").write_bytes(content)
    assert read_this_host(tmp_path, 1, 0, lambda timeout: None) is None


@pytest.mark.parametrize(
    "content", [b"", b"null", b'{"tool": "\xff", "hostname": "a"}', b"[" * 100_000, bytes(100), b" " * (5 << 20)]
)
def test_whatever_the_file_contains_the_gpus_are_read(tmp_path, content):
    (tmp_path / READING_FILE).write_bytes(content)
    now = (tmp_path / READING_FILE).stat().st_mtime
    assert read_this_host(tmp_path, 1, now, lambda timeout: READING) == Reading(READING, 0.0)


def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / READING_FILE)
    assert read_this_host(tmp_path, 1, time.time(), lambda timeout: READING) == Reading(READING, 0.0)


def test_a_file_from_a_later_time_does_not_count(tmp_path):
    """Otherwise a report of a babysitter that ended before the clock was set back would count until then."""
    path = tmp_path / READING_FILE
    path.write_bytes(msgspec.json.encode(GpuReport(hostname="a", tool="nvidia-smi")))
    assert read_this_host(tmp_path, 1, path.stat().st_mtime - 60, lambda timeout: READING) == Reading(READING, 0.0)
