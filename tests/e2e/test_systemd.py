"""The unit that `svc render --systemd` writes: valid for systemd's own tools, and its Exec lines work."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.debian import program
from tests.documents import machine
from tests.e2e.sites import BIN, http
from tests.e2e.systemd import Unit, systemd_section
from tests.e2e.traffic import read_stream
from tests.waiting import wait_until

MOST_EXPOSED = 40  # tenths


def unit_file(site):
    site.svc("render", "--systemd")
    return site.root / "systemd" / "infinilm-svc.service"


def analyze(*arguments):
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_systemd_accepts_the_unit(site, full):
    if full:  # of instances, and with a file of somebody else's
        for n in range(20):
            site.mock(f"m{n}", "a,b", "--token-delay", "0.01")
        (site.root / "conf.d").mkdir()
        (site.root / "conf.d" / "mine.conf").write_text("[program:mine]\ncommand=sleep 1000\nstopwaitsecs=300\n")
    systemd_section(site)
    path = unit_file(site)
    assert analyze("verify", str(path)) == (0, "")
    status, output = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(path))
    assert status == 0, output
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", output)[1])
    assert exposure <= MOST_EXPOSED / 10
    for open_on_purpose in ("PrivateDevices", "DeviceAllow", "ProtectClock", "MemoryDenyWriteExecute"):
        assert re.search(rf"✗ {open_on_purpose}=", output), "a GPU and code that is compiled as it runs need it"


def test_systemd_accepts_the_unit_of_a_site_in_its_usual_place(site):
    """At this place, systemd creates logs/ and var/."""
    (site.root / "prefix").symlink_to(BIN.parent)
    toml = site.root / "config" / "svc.toml"
    toml.write_text(f'{toml.read_text()}[systemd]\nprefix = "{site.root}/prefix"\n')
    path = unit_file(site)
    assert "\nStateDirectory=infinilm/logs infinilm/var\n" in path.read_text()
    assert analyze("verify", str(path)) == (0, "")


@pytest.fixture
def unit(site) -> Iterator[Unit]:
    systemd_section(site)
    site.mock("one", "m", "--token-delay", "0.1")
    site.svc("render")
    unit = Unit(unit_file(site))
    yield unit
    unit.end()


def test_its_exec_lines_start_update_and_stop_in_order(site, unit):
    for name in ("logs", "var"):  # as of a site that was copied without them
        shutil.rmtree(site.root / name)
    unit.start()
    wait_until(lambda: site.control_answers() and site.answers(), 60, "the site answers")
    assert site.pid() == unit.process.pid, "supervisord is the main process"

    before = site.pid("one:server")
    site.mock("two", "m2")
    site.svc("render")
    unit.reload()
    wait_until(lambda: {"one-server", "two-server"} <= site.routed(), 60, "the new instance is used")
    assert (site.pid(), site.pid("one:server")) == (unit.process.pid, before)

    answer = site.chat(stream=True, max_tokens=30)
    events: list[str] = []
    reading = threading.Thread(target=lambda: events.extend(read_stream(answer)))
    reading.start()
    wait_until(
        lambda: http.get(f"{site.router}/services", timeout=5).json()["services"], description="the router answers"
    )
    output = unit.stop()
    reading.join(30)
    assert events[-1] == "[DONE]"
    assert not [event for event in events if '"error"' in event], "requests in progress are finished"
    stopped = [line.split()[0] for line in output.splitlines() if "stopped" in line]
    assert stopped[0] == "router"
    assert set(stopped[1:3]) == {"one:babysitter", "two:babysitter"}
    assert set(stopped[3:]) == {"registry", "one:server", "two:server"}
    assert unit.process.returncode == 0, "no failure, so no restart"
    assert site.processes() == {}


def test_a_start_over_a_site_that_was_started_by_hand_is_refused(site, unit):
    site.run("supervisord", "-c", str(site.root / "supervisord.conf"))
    wait_until(site.control_answers, description="supervisord answers")
    pid = site.pid()
    with pytest.raises(
        AssertionError, match=rf"svc prepare: 1\nsvc: supervisord \(pid {pid}\) runs on this site already"
    ):
        unit.start()
    assert unit.process is None
    site.svc("down")
    shutil.rmtree(site.root / "var")
    unit.start()
    wait_until(site.control_answers, 60, "supervisord answers")
    assert (site.root / "var" / ".gitignore").exists(), "git add -A offers no secrets"


BOOTED = """set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
cp systemd/infinilm-svc.service /run/systemd/system/
exec "$@"
"""


def booted(site, *command):
    """Run a command where systemd has booted, and the site's unit is installed; return its exit code and output."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", BOOTED, "sh", str(BIN / "svc"), *command],
        cwd=site.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(bool(machine.missing()), reason=machine.missing())
def test_hints_are_systemctls_where_a_unit_runs_the_site(site):
    systemd_section(site)
    unit_file(site)
    site.svc("render")
    refusal = "svc: systemd starts this site (unit infinilm-svc): `systemctl start infinilm-svc`\n"
    assert booted(site, "up") == (1, refusal)
    assert booted(site, "up", "--foreground") == (1, refusal)
    status, out = booted(site, "status", "--json")
    assert status == 1
    assert json.loads(out)["unit"] == "infinilm-svc"
    assert "systemctl start infinilm-svc starts it" in json.loads(out)["problems"][0]
    assert "`systemctl start infinilm-svc` starts it" in booted(site, "health")[1]
    findings = json.loads(booted(site, "doctor", "--json")[1])["findings"]
    assert [f["fix"] for f in findings if f["key"] == "supervisord.down"] == ["systemctl start infinilm-svc"]
    assert not site.processes()

    site.run("supervisord", "-c", str(site.root / "supervisord.conf"))
    wait_until(site.control_answers, description="supervisord answers")
    findings = json.loads(booted(site, "doctor", "--json")[1])["findings"]
    cures = {f["key"]: f["fix"] for f in findings}
    assert cures["supervisord.outside"].endswith("svc down && systemctl start infinilm-svc")


def test_a_reload_of_an_invalid_file_fails_and_changes_nothing(site, unit):
    unit.start()
    wait_until(lambda: site.control_answers() and site.answers(), 60, "the site answers")
    running = site.run("supervisorctl", "pid", "all")
    (site.root / "conf.d" / "wrong.conf").write_text("[program:wrong]\n")
    with pytest.raises(AssertionError, match="svc apply: 1\nsvc: .*wrong"):
        unit.reload()
    assert site.run("supervisorctl", "pid", "all") == running


def test_a_site_from_git_starts_with_supervisord_alone(site):
    """`supervisord -c supervisord.conf` in a fresh clone: logs/ and var/ are in it."""
    site.svc("render")
    clone = site.root / "clone"
    for arguments in (
        ["init", "-q", "."],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
        ["clone", "-q", ".", str(clone)],
    ):
        subprocess.run([program("git", "git"), *arguments], cwd=site.root, check=True, capture_output=True)
    assert {"logs", "var"} <= {path.name for path in clone.iterdir()}
    supervisord = site.supervisord
    site.run("supervisord", "-c", str(clone / "supervisord.conf"))
    site.supervisord = type(supervisord)(f"unix://{clone}/var/supervisor.sock")
    wait_until(site.control_answers, description="supervisord answers")
    subprocess.run([str(BIN / "svc"), "down"], cwd=clone, check=True, capture_output=True, timeout=60)


def test_a_supervisord_without_svc_fails_with_one_line(site, tmp_path):
    """Debian's supervisord runs in another Python, which cannot import our extension."""
    import supervisor

    site.svc("render")
    (tmp_path / "supervisor").symlink_to(supervisor.__path__[0])
    code = f"import sys; sys.path[:] = [p for p in sys.path if 'packages' not in p] + [{str(tmp_path)!r}]\n"
    code += "from supervisor.supervisord import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, "-n", "-c", "supervisord.conf"],
        cwd=site.root,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    line, *rest = (done.stdout + done.stderr).splitlines()
    assert line == "Error: svc.supervision.policy:make cannot be resolved within [rpcinterface:svc]"
    assert all(more.startswith("For help, use") for more in rest)


PLAIN = """\
[supervisord]
logfile=%(here)s/var/plain.log
pidfile=%(here)s/var/plain.pid
[unix_http_server]
file=%(here)s/var/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:theirs]
command=sleep 1000
"""


def test_a_supervisord_of_another_program_is_refused_and_not_changed(site):
    site.mock("one")
    site.svc("render")
    before = site.files()
    plain = site.root / "plain.conf"
    plain.write_text(PLAIN)
    process = site.start("supervisord", "-n", "-c", str(plain))
    try:
        wait_until(site.control_answers, description="it answers")
        pid = wait_until(lambda: site.supervisord.process("theirs").pid, description="its program runs")
        for arguments in ("up", "status", "status --json", "down", "down --only router", "logs", "plan", "apply"):
            line = site.refused(*arguments.split())
            assert line.startswith("svc: var/supervisor.sock: what answers here is not svc's supervisord"), line
        report = site.svc("doctor", status=1)[0]
        assert "the supervisord that runs here is not svc's: it lacks [rpcinterface:svc]" in report
        assert 'supervisorctl -s "unix://$PWD/var/supervisor.sock" shutdown' in report
        assert "svc down" not in report, "which would refuse"
        assert site.supervisord.process("theirs").pid == pid
        assert {**before, "plain.conf": PLAIN.encode()} == site.files()
    finally:
        process.terminate()
        process.communicate(timeout=30)
