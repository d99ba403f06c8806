"""Findings about the router."""

import dataclasses

import pytest

from svc.config.settings_file import load_settings
from svc.doctor.facts import SiteFiles
from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import (
    answer,
    findings,
    routed,
    router,
)


def test_a_router_without_a_table():
    waiting = router([], ready=answer({"status": "waiting for the registry"}, 503))
    assert findings(router=waiting)["router.waiting"].severity == PROBLEM
    logs = {"router": ["WARNING cannot reach the registry: http://r:18000: no such host", "INFO other"]}
    evidence = findings(router=waiting, logs=logs)["router.waiting"].evidence
    assert evidence.endswith("; its log: WARNING cannot reach the registry: http://r:18000: no such host")


def test_a_router_with_an_old_table():
    health = answer({"router": "running", "table_source": "registry", "table_age_seconds": 120.0})
    assert "120 s old" in findings(router=router(health=health))["router.table"].summary


@pytest.mark.parametrize(
    ("result", "key"),
    [
        ({"healthy": False, "ejected": True, "error_count": 5}, "router.ejected.a-server"),
        ({"healthy": False}, "router.unused.a-server"),
    ],
)
def test_an_instance_that_the_router_does_not_use(result, key):
    assert key in findings(router=router([routed("a", 8100, **result), routed("b", 8110)]))


def test_an_instance_that_the_router_cannot_reach():
    entry = router(
        [routed("a", 8100, healthy=False), routed("b", 8110)], connect_errors={"a-server": "no route to host"}
    )
    assert "no route to host" in findings(router=entry)["router.unreached.a-server"].evidence


def test_an_instance_that_the_router_does_not_know():
    assert "router.missing.b-server" in findings(router=router([routed("a", 8100)]))


@pytest.mark.parametrize(("waiting", "severity"), [(100, PROBLEM), (60, WARNING), (3, None)])
def test_a_long_queue_is_found(waiting, severity):
    metrics = answer({}, text=f'svc_router_queue{{model="m"}} {waiting}.0\n')
    result = findings(router=router(metrics=metrics)).get("router.queue")
    assert (result.severity if result else None) == severity


@pytest.mark.parametrize(("origins", "is_open"), [(None, False), ("*", True)])
def test_a_container_that_listens_on_all_its_addresses_is_not_open(origins, is_open):
    settings = load_settings(flags={"router": {"host": "0.0.0.0", "cors_origins": origins}})
    container = SiteFiles(runs_from_var=True, in_foreground=True)
    assert ("router.open" in findings(settings=settings, files=container)) is is_open


def test_keys_that_are_not_applied_yet_protect_nothing():
    settings = load_settings(flags={"router": {"host": "0.0.0.0", "keys_file": "keys.toml"}})
    without_keys = dataclasses.replace(sample_site.supervisor(), router_keys_file="")
    result = findings(settings=settings, supervisord=without_keys)
    assert "keys_file under [router] is keys.toml" in result["router.keys"].evidence
    assert result["router.open"].evidence.endswith("keys_file is not applied yet")
    with_keys = dataclasses.replace(without_keys, router_keys_file="keys.toml")
    assert not {"router.keys", "router.open"} & findings(settings=settings, supervisord=with_keys).keys()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ({"host": "0.0.0.0"}, "without an API key"),
        ({"host": "0.0.0.0", "cors_origins": "*"}, "web pages of any origin"),
        ({"host": "0.0.0.0", "keys_file": "keys.toml"}, ""),
        ({"host": "localhost"}, ""),
    ],
)
def test_a_router_open_to_other_machines_is_a_warning(lines, text):
    result = findings(settings=load_settings(flags={"router": lines}))
    assert text in result["router.open"].summary if text else "router.open" not in result
