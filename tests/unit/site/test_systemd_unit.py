"""The unit of a site: its name in a cgroup, its supervisord in a unit file, and its commands of systemctl."""

import pytest

from svc.site.systemd_unit import SystemdUnit, service_of_cgroup, supervisord_configurations

RUNNING = SystemdUnit("llm", is_running=True)
IDLE = SystemdUnit("llm", is_running=False)


@pytest.mark.parametrize(
    ("text", "name", "is_user_unit"),
    [
        ("0::/system.slice/llm.service\n", "llm", False),
        ("0::/system.slice/llm.service/engine\n", "llm", False),
        ("9:pids:/x\n1:name=systemd:/system.slice/llm.service\n0::/\n", "llm", False),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/llm.service\n", "llm", True),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "", True),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "", False),
        ("0::/system.slice/docker-0123.scope\n", "", False),
        ("4:memory:/system.slice/llm.service\n0::/\n", "", False),
    ],
)
def test_the_unit_of_a_cgroup(text, name, is_user_unit):
    assert service_of_cgroup(text) == (name, is_user_unit)


@pytest.mark.parametrize(
    "command",
    [
        "/opt/venv/bin/supervisord --nodaemon --configuration /srv/llm/supervisord.conf",
        "/opt/venv/bin/supervisord --configuration=/srv/llm/supervisord.conf -n",
        "-/opt/venv/bin/python3 /opt/venv/bin/supervisord -n -c \\\n  '/srv/llm/supervisord.conf'",
    ],
)
def test_the_configuration_of_a_units_supervisord(command):
    text = f"[Service]\nExecStart={command}\nUser=x\n"
    assert list(supervisord_configurations(text)) == ["/srv/llm/supervisord.conf"]


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quoted_configuration_may_contain_blanks(quote):
    text = f"ExecStart=/opt/supervisord -n -c {quote}/srv/my site/supervisord.conf{quote}\n"
    assert list(supervisord_configurations(text)) == ["/srv/my site/supervisord.conf"]


def test_a_hint_has_the_name_of_a_unit_that_contains_backslashes():
    unit = SystemdUnit(r"llm@my\x2dsite", is_running=True)
    assert unit.with_commands("`svc down` ends it") == r"`sudo systemctl stop 'llm@my\x2dsite'` ends it"


def test_other_units_start_no_supervisord():
    text = "# supervisord -c /a.conf\nExecStartPre=/bin/supervisord -c /a.conf\nExecStart=/bin/nginx -c /a.conf\n"
    assert list(supervisord_configurations(text)) == []


@pytest.mark.parametrize(
    ("hint", "running", "idle"),
    [
        ("svc up", "sudo systemctl reload llm", "sudo systemctl start llm"),
        ("kill 9 && sleep 2 && svc up", "kill 9 && sleep 2 && sudo systemctl reload llm", None),
        ("svc down && svc up", "sudo systemctl restart llm", "sudo systemctl restart llm"),
        ("`svc down` and `svc up` without them", "`sudo systemctl restart llm` without them", None),
        ("an older svc; svc down, then svc up", "an older svc; sudo systemctl restart llm", None),
        ("`sudo -u llm .venv/bin/svc down` ends it", "`sudo systemctl stop llm` ends it", None),
        ("x shutdown && sleep 5 && svc up", "x shutdown && sleep 5 && sudo systemctl start llm", None),
        ("`svc up` (pid 7) is at work", "`svc up` (pid 7) is at work", "`svc up` (pid 7) is at work"),
        ("`svc up --only registry` starts one", "`svc up --only registry` starts one", None),
        ("sudo -u llm svc doctor", "sudo -u llm svc doctor", "sudo -u llm svc doctor"),
    ],
)
def test_hints_have_systemctl_in_place_of_svc(hint, running, idle):
    assert RUNNING.with_commands(hint) == running
    assert IDLE.with_commands(hint) == idle or idle is None


def test_a_users_own_unit():
    assert SystemdUnit("a b", is_running=True, systemctl="systemctl --user").command("stop") == (
        "systemctl --user stop 'a b'"
    )
