"""The section "Several registries" of docs/DISTRIBUTED_DEPLOYMENT_README.md, run on machines made of namespaces."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.documents.blocks import blocks
from tests.documents.checkout import checkout
from tests.documents.fleet import (
    ADDRESSES,
    DOCUMENT,
    RECOVERY_TIMEOUT_SECONDS,
    SETUP_SECTIONS,
    START_REDIS,
    Fleet,
    require_machines,
)
from tests.integration.redis_server import MISSING_REDIS
from tests.waiting import wait_until

ROLES = ("control", "first", "second", "other", "redis")
OTHER = "http://10.0.0.2:18000"


class RegistriesFleet(Fleet):
    """Two instance hosts, a second registry's host and a Redis's."""

    addresses = {role: address for role, address in ADDRESSES.items() if role != "third"} | {
        "other": "10.0.0.2",
        "redis": "10.0.0.9",
    }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    """Yield the document's machines with two registries, which were added while requests were served."""
    require_machines()
    if not shutil.which("redis-server"):
        pytest.fail(MISSING_REDIS) if os.environ.get("CI") else pytest.skip(MISSING_REDIS)
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("hosts")
        machines = RegistriesFleet(place, checkout(tmp_path_factory.mktemp("checkout")), stack)
        for section in SETUP_SECTIONS:
            machines.run_section(section, "control", "first", "second")
        machines.run_section("On every machine", "other")
        machines.machines["redis"].do("install -d /etc/redis")
        with machines.requests_served() as answers:
            machines.run_section("Several registries", *ROLES)
            count = len(answers)
            wait_until(lambda: len(answers) > count + 20, description="requests are served")
        wait_until(machines.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "all have registered")
        yield machines


def listed(fleet: Fleet) -> dict[str, dict]:
    """Return the services of the second registry, by name."""
    answer = fleet.hosts["control"].ask("GET", f"{OTHER}/services", 40)
    return {service["name"]: service for service in answer.json()["services"]}


@pytest.mark.long
def test_a_site_shows_both_registries_and_is_well(fleet):
    first = fleet.machines["first"]
    checked = first.do("cd /var/lib/infinilm; runuser -u infinilm -- svc check")
    assert f"registry of qwen-a: http://10.0.0.1:18000, then {OTHER} (by registry_url under [launch]" in checked
    assert {"qwen-a", "qwen-b", "qwen-a-server", "qwen-b-server"} == listed(fleet).keys()
    for role in ("first", "control"):
        fleet.machines[role].do("cd /var/lib/infinilm; runuser -u infinilm -- svc doctor")


@pytest.mark.long
def test_the_firewalls_accept_only_the_ports_of_the_table(fleet):
    registries = {("control", 18000), ("other", 18000)}
    instances = {(role, port) for role in ("first", "second") for port in (8100, 8101)}
    table = {
        "client": {("control", 8000)},
        "first": {("control", 8000), *registries},
        "second": {("control", 8000), *registries},
        "control": {("other", 18000), ("redis", 6379), *instances},
        "other": {("control", 8000), ("redis", 6379), *instances},
        "redis": {("control", 8000)},
    }
    with ThreadPoolExecutor() as executor:
        assert dict(zip(table, executor.map(fleet.reachable_ports, table), strict=True)) == table


@pytest.mark.long
def test_a_site_works_while_one_registry_is_away(fleet):
    control, first = (fleet.machines[role] for role in ("control", "first"))
    svc = "runuser -u infinilm -- env -i PATH=$PATH svc"
    with fleet.requests_served() as answers:
        before = max(service["last_heartbeat"] for service in listed(fleet).values())
        control.do("cd /var/lib/infinilm; supervisorctl stop registry")
        wait_until(
            lambda: all(service["last_heartbeat"] > before for service in listed(fleet).values()),
            RECOVERY_TIMEOUT_SECONDS,
            "all babysitters use the other registry",
        )
        control.do("cd /var/lib/infinilm; svc drain qwen-b --wait; svc services; svc events")
        assert fleet.routed_instances() == {"qwen-a-server"}
        control.do("cd /var/lib/infinilm; svc undrain qwen-b")
        wait_until(lambda: "qwen-b-server" in fleet.routed_instances(), RECOVERY_TIMEOUT_SECONDS, "it is routed again")
        first.do(f"""cd /var/lib/infinilm
            sed -i 's/models = .*/models = ["qwen", "extra"]/' config/qwen-a.toml
            {svc} plan && exit 1 || [ $? = 2 ]
            {svc} apply
            {svc} services | grep qwen-b
            {svc} status""")
        assert fleet.send_chat(model="extra", max_tokens=1).headers["x-mock-name"] == "qwen-a"
        control.do("cd /var/lib/infinilm; runuser -u infinilm -- svc up")
        wait_until(fleet.both_hosts_are_up, RECOVERY_TIMEOUT_SECONDS, "the registry is back")
    assert {name for _, name, _ in answers} == {"qwen-a", "qwen-b"}


@pytest.mark.long
def test_a_command_reports_that_redis_is_away(fleet):
    control, redis = (fleet.machines[role] for role in ("control", "redis"))
    redis.do("kill $(cat /tmp/redis.pid); while [ -e /tmp/redis.pid ]; do sleep 0.1; done")
    error = control.do("cd /var/lib/infinilm; ! svc drain qwen-b 2>&1")
    assert "cannot drain qwen-b: the registry at http://localhost:18000 answered 503: " in error
    assert "--registry-url" not in error
    redis.do(START_REDIS)
    wait_until(fleet.both_hosts_are_up, 2 * RECOVERY_TIMEOUT_SECONDS, "the registries have recovered")
    control.do("cd /var/lib/infinilm; svc drain qwen-b; svc undrain qwen-b")


def test_every_block_of_the_section_is_run():
    section = [block for block in blocks(DOCUMENT) if block.section == "Several registries"]
    assert {role for block in section for role in block.notes["on"].split()} <= {*ROLES, "instances"}
    assert [block.place for block in section if "run by" not in block.notes] == []
