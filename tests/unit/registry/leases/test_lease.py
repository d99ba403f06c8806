import pytest
from msgspec.structs import replace

from svc.base.errors import Forbidden, NotFound
from svc.registry.leases import lease
from tests.unit.registry.services import NOW, service


def test_a_lease_ends_lease_seconds_after_the_last_heartbeat():
    assert not lease.has_lapsed(service(lease_seconds=30), NOW + 29.9, listening_since=0)
    assert lease.has_lapsed(service(lease_seconds=30), NOW + 30, listening_since=0)
    assert lease.expire_if_lapsed(service(lease_seconds=30), NOW + 30, listening_since=0).expired
    assert not lease.expire_if_lapsed(service(lease_seconds=30), NOW + 29, listening_since=0).expired


def test_a_service_is_forgotten_forget_after_seconds_after_its_lease():
    silent = service(lease_seconds=30, expired=True)
    assert not lease.is_forgettable(silent, NOW + 329, forget_after=300, listening_since=0)
    assert lease.is_forgettable(silent, NOW + 330, forget_after=300, listening_since=0)
    kept = service(lease_seconds=30)
    assert not lease.is_forgettable(kept, NOW + 10_000, forget_after=300, listening_since=0), (
        "not while it has not expired"
    )


def test_a_lease_counts_from_the_start_of_the_registry():
    silent, started = service(lease_seconds=30, expired=True), NOW + 10_000
    assert not lease.has_lapsed(silent, started + 29, listening_since=started)
    assert lease.has_lapsed(silent, started + 30, listening_since=started)
    assert not lease.is_forgettable(silent, started + 299, forget_after=300, listening_since=started)
    assert lease.is_forgettable(silent, started + 300, forget_after=300, listening_since=started)


def test_a_new_registration_keeps_healthy_and_resets_unhealthy():
    new = service(last_heartbeat=NOW + 5)
    assert lease.register(None, new).health_status == "unknown"
    assert lease.register(service(health_status="unhealthy"), new).health_status == "unknown"
    assert lease.register(service(health_status="healthy"), new).health_status == "healthy"
    elsewhere = service(url="http://10.0.0.8:8100")
    assert lease.register(service(health_status="healthy"), elsewhere).health_status == "unknown"


def test_a_new_url_or_a_restart_resets_the_health_status():
    bad = service(health_status="unhealthy")
    assert lease.after_heartbeat(bad, NOW + 1, "running").health_status == "unhealthy"
    again = lease.after_heartbeat(lease.after_heartbeat(bad, NOW + 1, "starting"), NOW + 2, "running")
    assert (again.status, again.health_status) == ("running", "unknown")
    assert lease.update(bad, {"url": "http://10.0.0.9:8100"}, NOW).health_status == "unknown"
    assert lease.update(bad, {"weight": 3}, NOW).health_status == "unhealthy"


def test_a_heartbeat_without_a_status_only_renews_the_lease():
    assert lease.after_heartbeat(service(), NOW + 7, None) == replace(service(), last_heartbeat=NOW + 7)


def test_heartbeats_updates_and_registrations_revive_a_service():
    silent = service(expired=True)
    assert not lease.after_heartbeat(silent, NOW + 7, None).expired
    assert lease.update(silent, {"weight": 3}, NOW + 7) == service(weight=3, last_heartbeat=NOW + 7)
    assert not lease.register(silent, service(last_heartbeat=NOW + 7)).expired


def test_an_update_does_not_revive_the_service_of_another_owner():
    with pytest.raises(Forbidden):
        lease.update(service(owner="a" * 64), {"weight": 3}, NOW, "b" * 64)
    with pytest.raises(NotFound):
        lease.update(service(owner="a" * 64, expired=True), {"weight": 3}, NOW, "b" * 64)


def test_the_lease_of_a_static_service_does_not_end():
    static = service(metadata={"static": True})
    assert not lease.has_lapsed(static, NOW + 1e6, listening_since=0)
    assert lease.has_lapsed(service(metadata={"static": "true"}), NOW + 1e6, listening_since=0)


def test_only_changes_that_a_reader_notices_are_visible():
    old = service(lease_seconds=30)
    assert lease.is_visible_change(None, old)
    assert not lease.is_visible_change(old, replace(old, last_heartbeat=NOW + 29, timestamp="later", owner="x"))
    assert lease.is_visible_change(old, replace(old, expired=True))
    assert lease.is_visible_change(old, replace(old, status="draining"))
    assert lease.is_visible_change(old, replace(old, drained=True))
    assert lease.is_visible_change(old, replace(old, metadata={"models": ["b"]}))
    assert lease.is_visible_change(old, replace(old, health_status="unhealthy"))
