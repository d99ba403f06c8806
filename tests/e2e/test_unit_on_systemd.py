"""The unit of docs/SYSTEMD.md on a booted machine: who manages the site, refusals, hints, and the sandbox's drop-ins.

The tests share one machine, and each leaves the site running under its unit.
"""

import json
import re

import pytest

from tests.e2e.nspawn import SystemdMachine
from tests.e2e.sites import ROOT
from tests.e2e.systemd_fleet import SITE, SYSTEMD, UNIT, is_healthy, main_pid
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
TIMEOUT_SECONDS = 60.0
DROP_IN = f"/etc/systemd/system/{UNIT}.service.d"


@pytest.fixture(scope="module")
def machine(boot_machines) -> SystemdMachine:
    fleet = boot_machines("single")
    for section in ("From an empty machine", "The unit"):
        fleet.run_section(section, "single", document=SYSTEMD)
    machine = fleet.machines["single"]
    wait_until(lambda: is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)
    return machine


def svc(machine, command):
    """Return the exit code and all output of a command of svc in the site, as root."""
    out = machine.call(f"cd {SITE}; svc {command} 2>&1; echo $?")
    text, _, code = out.rstrip("\n").rpartition("\n")
    return int(code), text


def test_commands_know_that_systemd_runs_the_site(machine):
    refusal = f"svc: systemd runs this site (unit {UNIT}): `systemctl reload {UNIT}` applies the files"
    code, out = svc(machine, "up")
    assert code == 1
    assert out.startswith(refusal)
    for user in ("infinilm", "nobody"):  # nobody may not read supervisord's environment
        machine.do("chmod o+x /var/lib/infinilm")
        out = machine.do(f"cd {SITE}; runuser -u {user} -- svc up 2>&1 || true")
        assert f"`sudo systemctl reload {UNIT}`" in out, user
    assert json.loads(svc(machine, "status --json")[1])["unit"] == UNIT
    machine.do(f"echo '# changed' >> {SITE}/conf.d/router.conf")
    findings = json.loads(svc(machine, "doctor --json")[1])["findings"]
    [stale] = [finding for finding in findings if finding["key"] == "files.stale"]
    machine.do(stale["fix"])
    assert stale["fix"] == f"systemctl reload {UNIT}"
    findings = json.loads(svc(machine, "doctor --json")[1])["findings"]
    assert "files.stale" not in {finding["key"] for finding in findings}


def test_git_ignores_the_directories_that_systemd_has_made(machine):
    machine.do(f"cd {SITE}; systemctl stop {UNIT}; rm -rf logs var; systemctl start {UNIT}")
    wait_until(lambda: is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)
    assert machine.call(f"cat {SITE}/logs/.gitignore {SITE}/var/.gitignore") == "*\n!.gitignore\n" * 2


def test_a_stopped_supervisord_is_cured_and_can_be_stopped(machine):
    pid = main_pid(machine)
    machine.do(f"kill -STOP {pid}")
    code, out = svc(machine, "down")
    assert (code, out) == (
        1,
        f"svc: supervisord: pid {pid} does not answer: stopped (state T); `kill -CONT {pid}` lets it go on",
    )
    findings = json.loads(svc(machine, "doctor --json")[1])["findings"]
    machine.do(findings[0]["fix"])
    wait_until(lambda: is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)
    assert main_pid(machine) == pid


def test_a_start_over_a_site_that_was_started_by_hand_fails_once(machine):
    machine.do(f"systemctl stop {UNIT}")
    code, out = svc(machine, "up")
    assert (code, out) == (1, f"svc: systemd starts this site (unit {UNIT}): `systemctl start {UNIT}`")
    machine.do(f"cd {SITE}; runuser -u infinilm -- /opt/infinilm-svc/bin/supervisord -c {SITE}/supervisord.conf")
    wait_until(lambda: is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)
    by_hand = machine.call(f"cat {SITE}/var/supervisord.pid").strip()
    out = machine.do(f"if systemctl start {UNIT} 2>&1; then exit 1; fi")
    assert "Job for infinilm-svc.service failed" in out
    refusal = f"supervisord (pid {by_hand}) runs on this site already, and systemd did not start it"
    log = machine.do(f"journalctl --unit {UNIT} --lines 20 --output cat")
    assert f"svc: {refusal}; `sudo -u infinilm " in log
    assert f"ends it, then `systemctl start {UNIT}`" in log
    state = machine.call(f"systemctl show --property NRestarts,ActiveState,SubState {UNIT}")
    assert set(state.split()) == {"NRestarts=0", "ActiveState=failed", "SubState=failed"}, "not auto-restart"
    findings = json.loads(svc(machine, "doctor --json")[1])["findings"]
    [outside] = [finding for finding in findings if finding["key"] == "supervisord.outside"]
    machine.do(f"cd {SITE}; {outside['fix']}")
    wait_until(lambda: main_pid(machine) and is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)


def test_a_supervisord_that_fails_is_started_again(machine):
    machine.do(f"systemctl stop {UNIT}; mv {SITE}/supervisord.conf /root/; systemctl start {UNIT} || true")
    wait_until(
        lambda: machine.call(f"systemctl show --property NRestarts --value {UNIT}").strip() not in ("", "0"),
        30,
        "systemd starts it again",
        interval=0.5,
    )
    machine.do(f"cp -p /root/supervisord.conf {SITE}/")
    wait_until(lambda: main_pid(machine) and is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)


def drop_in(text):
    """Return the drop-in of the document that has this text."""
    blocks = re.findall(r"^```ini\n(.*?)^```", (ROOT / SYSTEMD).read_text(), re.M | re.S)
    [block] = [block for block in blocks if text in block]
    return block


# What a rootless container needs: a setuid program that takes effect, and namespaces.
PROBE = """[program:probe]
command=sh -c "/usr/local/bin/setuid-id -un; unshare --user --map-root-user --mount --net id -un"
startsecs=0
autorestart=false
redirect_stderr=true
stdout_logfile=%(here)s/../logs/probe.log
"""


def test_the_drop_ins_of_the_document_work(machine):
    machine.do(f"""install -m 4755 /usr/bin/id /usr/local/bin/setuid-id
        cat > {SITE}/conf.d/probe.conf <<'EOF'\n{PROBE}EOF""")
    rootless = "RestrictSUIDSGID"
    for text in ("EnvironmentFile", rootless):
        with_drop_in(machine, drop_in(text))
        status = machine.call(f"cat /proc/{main_pid(machine)}/status")
        assert f"NoNewPrivs:\t{0 if text == rootless else 1}" in status
        assert machine.call(f"cat {SITE}/logs/probe.log; rm {SITE}/logs/probe.log").split().count("root") == (
            2 if text == rootless else 0
        )
    machine.do(f"rm -r {DROP_IN} {SITE}/conf.d/probe.conf; systemctl daemon-reload; systemctl restart {UNIT}")
    wait_until(lambda: main_pid(machine) and is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)


def with_drop_in(machine, text):
    """Restart the unit with this drop-in, and wait until the site and the probe have run."""
    machine.do(f"""mkdir -p {DROP_IN} /home/models
        cat > {DROP_IN}/override.conf <<'EOF'\n{text}EOF
        systemctl daemon-reload
        systemctl restart {UNIT}""")
    wait_until(
        lambda: "EXITED" in machine.call(f"cd {SITE}; supervisorctl status probe || true"),
        TIMEOUT_SECONDS,
        interval=0.5,
    )
    wait_until(lambda: is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)


def test_a_site_in_a_home_with_its_own_environment_moves_under_a_unit_there(machine):
    home = "/home/llm/site"
    machine.do(f"""systemctl stop {UNIT}
        useradd --create-home llm
        cp -r {SITE}/config /root/config
        install -d -o llm {home}
        cp -r /root/config {home}/
        cd {home}
        python3 -m venv .venv
        .venv/bin/pip install /usr/local/src/infinilm-svc
        chown -R llm: {home}
        runuser -u llm -- .venv/bin/svc up
        printf '[systemd]\\nuser = "llm"\\nsite = "{home}"\\nprefix = "{home}/.venv"\\n' >> config/svc.toml
        runuser -u llm -- .venv/bin/svc render --systemd
        cp /etc/systemd/system/{UNIT}.service /root/
        cp systemd/{UNIT}.service /etc/systemd/system/
        runuser -u llm -- .venv/bin/svc down
        systemctl daemon-reload
        systemctl start {UNIT}""")
    wait_until(lambda: machine.call(f"cd {home} && svc health"), TIMEOUT_SECONDS, interval=0.5)
    machine.do(f"systemctl reload {UNIT}; test -s {home}/var/registry.db")
    machine.do(f"""systemctl stop {UNIT}
        cp /root/{UNIT}.service /etc/systemd/system/
        systemctl daemon-reload
        systemctl start {UNIT}""")
    wait_until(lambda: is_healthy(machine), TIMEOUT_SECONDS, interval=0.5)
