from msgspec.structs import replace

from svc.registry.leases import lease
from tests.unit.registry.services import NOW, service


def test_a_lease_ends_its_seconds_after_the_last_heartbeat():
    assert not lease.lapsed(service(lease_seconds=30), NOW + 29.9, since=0)
    assert lease.lapsed(service(lease_seconds=30), NOW + 30, since=0)
    assert lease.expired(service(lease_seconds=30), NOW + 30, since=0).expired
    assert not lease.expired(service(lease_seconds=30), NOW + 29, since=0).expired


def test_the_silent_are_forgotten_some_time_after_their_lease():
    silent = service(lease_seconds=30, expired=True)
    assert not lease.forgettable(silent, NOW + 329, forget_after=300, since=0)
    assert lease.forgettable(silent, NOW + 330, forget_after=300, since=0)
    kept = service(lease_seconds=30)
    assert not lease.forgettable(kept, NOW + 10_000, forget_after=300, since=0), "not while it has not expired"


def test_what_the_registry_was_not_there_to_hear_is_no_silence():
    silent, started = service(lease_seconds=30, expired=True), NOW + 10_000
    assert not lease.lapsed(silent, started + 29, since=started)
    assert lease.lapsed(silent, started + 30, since=started)
    assert not lease.forgettable(silent, started + 299, forget_after=300, since=started)
    assert lease.forgettable(silent, started + 300, forget_after=300, since=started)


def test_a_new_registration_forgets_a_bad_verdict_and_keeps_a_good_one():
    new = service(last_heartbeat=NOW + 5)
    assert lease.registered(None, new).health_status == "unknown"
    assert lease.registered(service(health_status="unhealthy"), new).health_status == "unknown"
    assert lease.registered(service(health_status="healthy"), new).health_status == "healthy"
    elsewhere = service(url="http://10.0.0.8:8100")
    assert lease.registered(service(health_status="healthy"), elsewhere).health_status == "unknown"


def test_a_verdict_ends_with_the_stretch_of_running_that_it_was_about():
    bad = service(health_status="unhealthy")
    assert lease.beaten(bad, NOW + 1, "running").health_status == "unhealthy"
    again = lease.beaten(lease.beaten(bad, NOW + 1, "starting"), NOW + 2, "running")
    assert (again.status, again.health_status) == ("running", "unknown")
    assert lease.changed(bad, {"url": "http://10.0.0.9:8100"}).health_status == "unknown"
    assert lease.changed(bad, {"weight": 3}).health_status == "unhealthy"


def test_a_heartbeat_without_a_status_only_renews():
    assert lease.beaten(service(), NOW + 7, None) == replace(service(), last_heartbeat=NOW + 7)


def test_a_heartbeat_revives_and_other_fields_do_not():
    silent = service(expired=True)
    assert not lease.beaten(silent, NOW + 7, None).expired
    assert lease.changed(silent, {"weight": 3}).expired
    assert not lease.registered(silent, service(last_heartbeat=NOW + 7)).expired


def test_only_what_a_reader_would_notice_is_notable():
    old = service(lease_seconds=30)
    assert lease.notable(None, old)
    assert not lease.notable(old, replace(old, last_heartbeat=NOW + 29, timestamp="later", owner="x"))
    assert lease.notable(old, replace(old, expired=True))
    assert lease.notable(old, replace(old, status="draining"))
    assert lease.notable(old, replace(old, drained=True))
    assert lease.notable(old, replace(old, metadata={"models": ["b"]}))
    assert lease.notable(old, replace(old, health_status="unhealthy"))
