"""`svc logs` over files that are written, rotated and replaced; logrotate itself; logs as JSON."""

import gzip
import json
import os
import pty
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.debian import program
from tests.e2e.sites import BIN, clean_environ
from tests.e2e.systemd import systemd_section
from tests.waiting import free_port_pair, wait_until

COUNTING = "import time, itertools\nfor n in itertools.count(): print('line', n, flush=True); time.sleep(0.005)"


def counting(site, name="count"):
    """Add an instance that writes numbered lines and never answers."""
    backend = f"command = {json.dumps(sys.executable)}\nargs = {json.dumps(['-c', COUNTING])}"
    site.toml(name, free_port_pair(), backend)


def numbers(text):
    return [int(n) for n in re.findall(r"^(?:\S+ \| )?line (\d+)$", text, re.M)]


def gaps(numbers):
    """Return each pair of neighbours that are not consecutive."""
    return [(first, second) for first, second in zip(numbers, numbers[1:], strict=False) if second != first + 1]


def start(site):
    """Start supervisord alone: `svc up` would wait for an instance that never answers."""
    site.svc("render")
    site.run("supervisord", "-c", "supervisord.conf")
    wait_until(site.control_answers, 20, "supervisord answers")


class FollowProcess:
    """`svc logs -f`, with its output in a file."""

    def __init__(self, site, *arguments):
        self.path = site.root / "followed"
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(
                [str(BIN / "svc"), "logs", "-f", *arguments],
                cwd=site.root,
                env=clean_environ(),
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def text(self):
        return self.path.read_text()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=20)
        assert (self.process.returncode, err) == (130, "")


@contextmanager
def following(site, *arguments) -> Iterator[FollowProcess]:
    follower = FollowProcess(site, *arguments)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.communicate()


def logs_section(site, text):
    toml = site.root / "config" / "svc.toml"
    toml.write_text(f"{toml.read_text()}[logs]\n{text}\n")


def test_the_log_files_are_the_same_whether_the_site_runs_or_not(site):
    site.mock("one")
    site.svc("up")
    assert "svc.router" in site.svc("logs", "router")[0]
    assert "mock one serves" in site.svc("logs", "one:server", "-n", "100")[0]
    lines = site.svc("logs")[0].splitlines()
    assert {line.split(" | ")[0] for line in lines} == {
        "registry",
        "router",
        "one:server",
        "one:babysitter",
        "supervisord",
    }
    assert len(site.svc("logs", "one:babysitter", "-n", "1")[0].splitlines()) == 1
    assert site.refused("logs", "two").startswith("svc: two: no such program here; there are registry, router, one:")
    site.svc("down")
    assert "mock one serves" in site.svc("logs", "one", "-n", "100")[0]
    assert site.refused("logs", "two").startswith("svc: two: no such program here; there are registry, router, one:")


def test_no_line_is_lost_by_supervisords_rotation(site):
    counting(site)
    logs_section(site, 'max_size = "1KB"\nbackups = 5')
    start(site)
    with following(site, "count:server", "-n", "1") as follower:
        wait_until(lambda: len(numbers(follower.text())) > 1000, 60, "a thousand lines, some seventy of them a file")
        follower.interrupt()
    assert gaps(numbers(follower.text())) == []


def test_a_restart_and_a_new_program_are_followed(site):
    counting(site)
    start(site)
    with following(site, "-n", "100000") as follower:  # its first line too, however late the command starts
        wait_until(lambda: "count:server | line 0\n" in follower.text(), 30, "its lines")
        site.run("supervisorctl", "restart", "count:server")
        wait_until(lambda: follower.text().count("count:server | line 0\n") == 2, 30, "the new process's lines")
        counting(site, "more")
        site.svc("render")
        site.run("supervisorctl", "update")
        wait_until(lambda: "more:server | line " in follower.text(), 30, "the new program's lines")
        follower.interrupt()


def test_a_closed_pipe_ends_it_silently(site):
    counting(site)
    start(site)
    wait_until(lambda: (site.root / "logs" / "server_count.log").stat().st_size > 1000, 30, "some lines")
    for arguments in (["-n", "1000", "count:server"], ["-f", "count:server"], ["-f", "-n", "1", "supervisord"]):
        process = subprocess.Popen(
            [str(BIN / "svc"), "logs", *arguments],
            cwd=site.root,
            env=clean_environ(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) in (0, -signal.SIGPIPE)
        assert process.stderr.read() == ""
        process.stderr.close()


def test_colours_only_on_a_terminal(site):
    site.mock("one")
    site.svc("render")
    (site.root / "logs" / "supervisord.log").write_text("hello\n")
    (site.root / "logs" / "server_one.log").write_text("hello\n")
    assert "\x1b" not in site.svc("logs", "one", "supervisord")[0]
    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal, end = pty.openpty()
        subprocess.run(
            [str(BIN / "svc"), "logs", "one", "supervisord"],
            cwd=site.root,
            env=clean_environ() | environ,
            stdout=end,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=True,
        )
        os.close(end)
        output = os.read(terminal, 10_000)
        os.close(terminal)
        assert (b"\x1b[" in output) == coloured
        assert b"hello" in output


def lines_of(log):
    """Return the content of a log and its rotated files, the oldest first."""
    rotated = {int(path.name.split(".")[2]): path for path in log.parent.glob(f"{log.name}.*")}
    paths = [rotated[n] for n in sorted(rotated, reverse=True)] + [log]
    return "".join((gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()).decode() for p in paths)


@pytest.mark.skipif(os.geteuid() != 0, reason="logrotate's file is for root's logrotate")
def test_no_line_is_lost_by_logrotate(site):
    counting(site)
    systemd_section(site, user=pwd.getpwuid(os.geteuid()).pw_name)
    logs_section(site, 'rotate = "logrotate"\nmax_size = "1KB"\nbackups = 50')
    site.svc("render", "--logrotate")
    start(site)
    log, own = site.root / "logs" / "server_count.log", site.root / "logs" / "supervisord.log"
    with following(site, "count:server", "-n", "1") as follower:
        wait_until(lambda: numbers(follower.text()), 30, "its first line")
        for times in range(1, 4):
            wait_until(lambda: log.exists() and log.stat().st_size > 2000, 30, "enough to rotate")
            subprocess.run(
                [program("logrotate", "logrotate"), "-s", "var/logrotate.state", "logrotate/infinilm-svc"],
                cwd=site.root,
                check=True,
                timeout=60,
            )
            wait_until(log.exists, 20, "supervisord opens a new one")
            assert len(list(log.parent.glob(f"{log.name}.*"))) == times
        subprocess.run(
            [program("logrotate", "logrotate"), "-f", "-s", "var/logrotate.state", "logrotate/infinilm-svc"],
            cwd=site.root,
            check=True,
            timeout=60,
        )
        wait_until(own.exists, 20, "supervisord's own is anew")
        last = numbers(follower.text())[-1]
        wait_until(lambda: numbers(follower.text())[-1] > last + 100, 30, "it goes on")
        follower.interrupt()
    site.svc("down")
    assert gaps(numbers(lines_of(log))) == []
    assert numbers(lines_of(log))[0] == 0
    assert gaps(numbers(follower.text())) == []


def test_a_rotation_succeeds_while_nothing_runs(site):
    if os.geteuid():
        pytest.skip("logrotate's file is for root's logrotate")
    systemd_section(site, user=pwd.getpwuid(os.geteuid()).pw_name)
    logs_section(site, 'rotate = "logrotate"')
    site.svc("render")
    site.svc("render", "--logrotate")
    (site.root / "logs" / "old.log").write_text("x\n")
    rotation = subprocess.run(
        [program("logrotate", "logrotate"), "-f", "-s", "var/logrotate.state", "logrotate/infinilm-svc"],
        cwd=site.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (rotation.returncode, rotation.stderr) == (0, "")
    assert (site.root / "logs" / "old.log.1").exists()


def test_json_logs_are_one_object_a_line_with_the_request_id(site):
    logs_section(site, 'format = "json"')
    site.mock("one", "m", "--cut-after", "1")
    site.svc("up")
    requests.post(
        f"{site.router}/v1/chat/completions",
        timeout=30,
        headers={"X-Request-ID": "mine-1"},
        json={"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]},
    )
    entries: list[dict] = []
    for name in ("registry", "router", "one:babysitter"):
        for line in site.svc("logs", name, "-n", "1000")[0].splitlines():
            entries.append(json.loads(line))
            assert {"time", "level", "logger", "message"} <= entries[-1].keys()
    (failed,) = [entry for entry in entries if "request_id" in entry]
    assert failed["request_id"] == "mine-1"
    assert {entry["logger"].split(".")[0] for entry in entries} >= {"svc", "gunicorn"}


def test_the_environment_may_set_the_json_format(site):
    site.mock("one")
    site.svc("up", SVC_LOG_FORMAT="json")
    line = site.svc("logs", "one:babysitter", "-n", "1")[0]
    assert json.loads(line)["level"] == "INFO"
    assert not (site.root / "conf.d").exists(), "committed files never depend on a shell"
