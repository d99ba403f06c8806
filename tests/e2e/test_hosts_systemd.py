"""docs/SYSTEMD.md and docs/DISTRIBUTED_DEPLOYMENT_README.md, walked on booted machines.

The tests are the steps of one walk, from empty machines to the uninstall, in their order.
Machines are rebooted and lose their power, links are cut.
"""

import json
import re
import time

import pytest

from tests.documents.blocks import blocks
from tests.documents.fleet import DOCUMENT, OPERATION_SECTIONS, SETUP_SECTIONS
from tests.e2e.nspawn import SystemdMachine
from tests.e2e.systemd_fleet import SITE, SYSTEMD, UNIT, SystemdFleet, is_healthy
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
RECOVERY_TIMEOUT_SECONDS = 60.0
HOSTS = ("control", "first", "second")
NAMES = {"first": "qwen-a", "second": "qwen-b"}
CUT_SECONDS = 30.0
FURTHER_SECTIONS = {
    *OPERATION_SECTIONS,
    "Several registries",
    "From an empty machine",
    "The unit",
    "A site that runs already",
    "Uninstall",
}
CHAT = "http://localhost:8000/v1/chat/completions"


@pytest.fixture(scope="module")
def fleet(boot_machines) -> SystemdFleet:
    return boot_machines(*HOSTS)


def test_empty_machines_answer_the_first_request(fleet):
    for section in SETUP_SECTIONS:
        fleet.run_section(section, *HOSTS)
    for role in HOSTS:
        fleet.machines[role].do("systemctl enable nftables")
    assert fleet.both_hosts_are_up()


def test_the_unit_takes_the_sites_over(fleet):
    fleet.run_section("The unit", *HOSTS, document=SYSTEMD)
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
    for role in HOSTS:
        group = fleet.machines[role].call(f"cat /proc/{fleet.main_pid(role)}/cgroup")
        assert group.strip().endswith(f"/system.slice/{UNIT}.service")


def test_a_killed_supervisord_is_started_again_while_requests_are_served(fleet):
    before = fleet.main_pid("first")
    with fleet.requests_served() as answers:
        fleet.await_both(answers)
        fleet.machines["first"].do(f"kill -9 {before}")
        wait_until(lambda: fleet.main_pid("first") not in (0, before), 30, "systemd starts it again", interval=0.5)
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)


def test_a_reload_changes_an_instance_while_requests_are_served(fleet):
    """The token of the documents' set-up is all that `svc apply` needs."""
    with fleet.requests_served() as answers:
        fleet.await_both(answers)
        fleet.machines["first"].do(
            f"""sed -i 's/^models = .*/models = ["qwen", "more"]/' {SITE}/config/qwen-a.toml
            systemctl reload {UNIT}"""
        )
        fleet.await_both(answers)
    await_models(fleet, "qwen-a", {"qwen", "more"})
    assert fleet.models_of("qwen-b") == {"qwen"}


def test_a_reload_that_would_end_a_model_is_refused_and_can_be_allowed(fleet):
    """Here it is a model that the new file does not have."""
    before = fleet.as_user("first", "supervisorctl pid all")
    fleet.machines["first"].do(
        f"""sed -i 's/^models = .*/models = ["qwen"]/' {SITE}/config/qwen-a.toml
        if systemctl reload {UNIT}; then exit 1; fi
        journalctl --unit {UNIT} --lines 20 | grep -F 'last healthy instance of more'"""
    )
    assert fleet.as_user("first", "supervisorctl pid all") == before != ""
    fleet.machines["first"].do(f"cd {SITE}; runuser -u infinilm -- svc apply --allow-downtime")
    await_models(fleet, "qwen-a", {"qwen"})


def test_a_reload_of_an_invalid_file_changes_nothing(fleet):
    before = fleet.as_user("second", "supervisorctl pid all")
    fleet.machines["second"].do(
        f"""cp -p {SITE}/config/qwen-b.toml /root/
        echo 'port = "none"' > {SITE}/config/qwen-b.toml
        if systemctl reload {UNIT}; then exit 1; fi
        journalctl --unit {UNIT} --lines 20 | grep -F config/qwen-b.toml
        mv /root/qwen-b.toml {SITE}/config/"""
    )
    assert fleet.as_user("second", "supervisorctl pid all") == before != ""


def test_a_machine_that_reboots_returns_by_itself_with_its_firewall(fleet):
    with fleet.requests_served() as answers:
        fleet.await_both(answers)
        fleet.machines["first"].reboot()
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)
    assert "registry and router" in fleet.machines["first"].call("nft list ruleset")


def test_the_control_host_returns_after_a_reboot(fleet):
    fleet.machines["control"].reboot()
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
    assert fleet.send_chat(max_tokens=1).status_code == 200


def test_a_machine_without_power_is_left_out_and_returns(fleet):
    with fleet.requests_served() as answers:
        fleet.await_both(answers)
        fleet.machines["second"].cut_power()
        wait_until(lambda: fleet.routed_instances() == {"qwen-a-server"}, 60, "the router leaves it out")
        fleet.boot("second")
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)


def test_a_link_that_is_cut_for_30_seconds_costs_no_request(fleet):
    with fleet.requests_served() as answers:
        fleet.await_both(answers)
        fleet.hosts["first"].cut()
        cut = time.monotonic()
        try:
            wait_until(lambda: fleet.routed_instances() == {"qwen-b-server"}, CUT_SECONDS, "the router leaves it out")
            wait_until(lambda: time.monotonic() > cut + CUT_SECONDS, 2 * CUT_SECONDS)
        finally:
            fleet.hosts["first"].heal()
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)


def test_the_token_is_replaced_without_a_restart(fleet):
    with fleet.requests_served():
        fleet.run_section("The tokens", "control")
        for role in ("first", "second"):
            fleet.copy_token(role)
            fleet.as_user(role, f"supervisorctl restart {NAMES[role]}:babysitter")
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "the registry accepts the new token")


def test_a_machine_is_added_and_removed(fleet):
    fleet.boot("third")
    fleet.run_section("On every machine", "third")
    fleet.run_section("A machine more", "control", "third")
    fleet.run_section("An instance host", "third")
    fleet.run_section("What has to be reachable", "third")
    fleet.run_section("The unit", "third", document=SYSTEMD)
    wait_until(lambda: "qwen-c-server" in fleet.routed_instances(), RECOVERY_TIMEOUT_SECONDS, "it gets requests")
    fleet.run_section("A machine less", "control")
    assert "qwen-c-server" not in fleet.routed_instances()
    fleet.run_section("A machine less", "third")
    assert not {"qwen-c", "qwen-c-server"} & fleet.healthy_services()
    wait_until(lambda: state(fleet.machines["third"]) == "inactive", 20, "systemd does not start it again")


def test_instances_are_restarted_while_requests_are_served(fleet):
    with fleet.requests_served():
        for role in ("first", "second"):
            fleet.run_section("Restarting and changing instances", role)
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_a_backup_is_made_and_restored(fleet):
    control = fleet.machines["control"]
    backup, restore, copy = (block for block in blocks(DOCUMENT) if block.section == "Backup")
    control.do(f"cd {SITE}; svc drain qwen-b")
    control.run(backup)
    fleet.run(copy, "second")
    control.do(f"svc undrain qwen-b; rm {SITE}/config/svc.toml")
    control.run(restore)
    wait_until(lambda: "qwen-b-server" not in fleet.routed_instances(), RECOVERY_TIMEOUT_SECONDS, "the mark is back")
    control.do("svc check; svc undrain qwen-b")
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_a_lost_control_host_is_replaced_and_has_the_drain_marks_of_the_backup(fleet):
    """The backup that the test before has made, with qwen-b drained."""
    fleet.replace_machine("control")
    for section in ("On every machine", "What has to be reachable", "A lost machine"):
        fleet.run_section(section, "control")
    fleet.run_section("The unit", "control", document=SYSTEMD)
    wait_until(lambda: fleet.routed_instances() == {"qwen-a-server"}, RECOVERY_TIMEOUT_SECONDS, "it is drained again")
    fleet.machines["control"].do(f"cd {SITE}; svc undrain qwen-b; systemctl enable nftables")
    wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")


def test_a_lost_instance_host_is_replaced_while_requests_are_served(fleet):
    """Without its secret, the new one is refused until the lease of the lost one has ended."""
    with fleet.requests_served() as answers:
        fleet.await_both(answers)
        fleet.replace_machine("first")
        for section in ("On every machine", "An instance host", "What has to be reachable"):
            fleet.run_section(section, "first")
        fleet.run_section("The unit", "first", document=SYSTEMD)
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)
    fleet.machines["first"].do("systemctl enable nftables")


def test_a_new_version_is_installed_while_requests_are_served(fleet):
    (version,) = re.findall(r"checkout v([\d.]+)", " ".join(block.text for block in blocks(DOCUMENT)))
    fleet.add_version(version)
    engines = {role: fleet.as_user(role, f"supervisorctl pid {NAMES[role]}:server") for role in NAMES}
    with fleet.requests_served() as answers:
        for role in HOSTS:
            fleet.run_section("A new version", role)
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)
    for role in HOSTS:
        assert version in fleet.as_user(role, "svc --version")
    for role, pid in engines.items():
        assert fleet.as_user(role, f"supervisorctl pid {NAMES[role]}:server") == pid != "", "the model stays loaded"


def test_a_drained_machine_restarts_its_supervisord(fleet):
    """As the document says of the supervisord that a new version needs."""
    with fleet.requests_served() as answers:
        fleet.machines["control"].do(f"cd {SITE}; svc drain qwen-a --wait")
        fleet.machines["first"].do(f"systemctl restart {UNIT}")
        wait_until(lambda: "qwen-a" in fleet.registered_services(), RECOVERY_TIMEOUT_SECONDS, "it is registered")
        fleet.machines["control"].do("svc undrain qwen-a")
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)


def test_a_second_registry_is_added_while_requests_are_served(fleet):
    fleet.boot("other", "redis")
    fleet.machines["redis"].do("systemctl enable --now redis-server")  # as its package does
    fleet.run_section("On every machine", "other")
    with fleet.requests_served() as answers:
        fleet.run_section("Several registries", *HOSTS, "other", "redis")
        fleet.run_section("The unit", "other", document=SYSTEMD)
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all have registered")
        fleet.await_both(answers)


def test_a_registry_or_redis_that_is_killed_costs_no_request(fleet):
    with fleet.requests_served() as answers:
        fleet.machines["other"].cut_power()
        fleet.await_both(answers)
        fleet.boot("other")
        wait_until(lambda: state(fleet.machines["other"]) == "active", 20, "the unit starts")
        fleet.machines["redis"].do("kill -9 $(pidof redis-server)")
        fleet.await_both(answers)
        fleet.machines["control"].do(f"cd {SITE}; supervisorctl stop registry")
        before = max(fleet.heartbeats_at_the_other_registry())
        wait_until(
            lambda: min(fleet.heartbeats_at_the_other_registry()) > before,
            RECOVERY_TIMEOUT_SECONDS,
            "both use the other registry",
        )
        fleet.await_both(answers)
        fleet.machines["control"].do(f"cd {SITE}; supervisorctl start registry")
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all are there again")
        fleet.await_both(answers)


def test_the_guide_of_one_machine_leads_to_an_answer(fleet):
    fleet.boot("single")
    fleet.run_section("From an empty machine", "single", document=SYSTEMD)
    fleet.run_section("The unit", "single", document=SYSTEMD)
    single = fleet.machines["single"]
    wait_until(lambda: is_healthy(single), RECOVERY_TIMEOUT_SECONDS, interval=0.5)
    assert "demo-small" in single.do("curl http://localhost:8000/v1/models")


def test_a_stop_finishes_the_streams_and_the_site_stays_down(fleet):
    single = fleet.machines["single"]
    body = {"model": "demo-small", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    single.do(f": > /root/stream; curl --no-buffer {CHAT} --json '{json.dumps(body)}' > /root/stream &")
    wait_until(lambda: "data:" in (single.root() / "root/stream").read_text(), description="the stream begins")
    single.do(f"systemctl stop {UNIT}; wait; tail -n 2 /root/stream | grep -F '[DONE]'")
    single.do(f"systemctl start {UNIT}")
    wait_until(lambda: is_healthy(single), RECOVERY_TIMEOUT_SECONDS, interval=0.5)
    single.do(f"cd {SITE}; runuser -u infinilm -- svc down")
    wait_until(lambda: state(single) == "inactive", 20, "systemd does not start it again")


@pytest.mark.parametrize("roles", [("single",), (*HOSTS, "other")], ids=["of one machine", "of several"])
def test_an_uninstall_leaves_nothing(fleet, roles):
    fleet.run_section("Uninstall", *roles, document=SYSTEMD)
    for role in roles:
        machine = fleet.machines[role]
        assert machine.call("id infinilm; pgrep --list-full python").strip() == ""
        files = machine.call("find / -xdev -name '*infinilm*'").split()
        assert [name for name in files if not name.startswith(("/root/", "/var/backups/", "/var/log/"))] == []
        assert machine.call("systemctl is-system-running").strip() == "running"


def test_a_site_that_was_started_by_hand_moves_under_the_unit(fleet):
    single = fleet.machines["single"]
    *installation, _ = (block for block in blocks(SYSTEMD) if block.section == "From an empty machine")
    single.do("cd")  # from the directory that the uninstall has removed
    for block in installation:
        single.run(block)
    single.do("""useradd --create-home llm
        git clone --quiet /usr/local/src/infinilm-svc /home/llm/site
        cd /home/llm/site
        python3 -m venv .venv
        .venv/bin/pip install /usr/local/src/infinilm-svc
        chown -R llm: .
        runuser -u llm -- .venv/bin/svc up
        runuser -u llm -- .venv/bin/svc drain demo1""")
    fleet.run_section("A site that runs already", "single", document=SYSTEMD)
    assert single.call("pgrep --list-full --uid llm") == ""
    fleet.run_section("The unit", "single", document=SYSTEMD)
    wait_until(
        lambda: "demo1:server: drained" in single.call(f"cd {SITE}; svc status || true"),
        RECOVERY_TIMEOUT_SECONDS,
        "the mark is kept",
    )
    single.do(f"cd {SITE}; runuser -u infinilm -- svc undrain demo1")
    wait_until(lambda: is_healthy(single), RECOVERY_TIMEOUT_SECONDS, interval=0.5)
    assert single.call(f"find {SITE} ! -user infinilm") == ""
    fleet.run_section("Uninstall", "single", document=SYSTEMD)


def await_models(fleet: SystemdFleet, name: str, models: set[str]) -> None:
    wait_until(
        lambda: fleet.models_of(name) == models, RECOVERY_TIMEOUT_SECONDS, f"the router knows {models} of {name}"
    )


def state(machine: SystemdMachine) -> str:
    return machine.call(f"systemctl is-active {UNIT} || true").strip()


def test_every_block_of_the_two_guides_is_walked():
    guides = [block for document in (DOCUMENT, SYSTEMD) for block in blocks(document)]
    assert [block.place for block in guides if "not run" in block.notes] == []
    assert {block.section for block in guides} == {*SETUP_SECTIONS, *FURTHER_SECTIONS}
