"""A babysitter's app and its fake instance."""

import pytest
from werkzeug.test import Client

from svc.babysitter.app import create_app
from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.continuation_probe import Verdict
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.health_rules import UNKNOWN_LOAD, ProbeOutcome
from svc.babysitter.registrar import Registrar
from svc.babysitter.registration import registrations
from svc.babysitter.resource_limits import ResourceLimits
from svc.babysitter.restarter import Restarter
from svc.client.registry import RegistryClient
from tests.unit.babysitter.fake_instance import FakeInstance


@pytest.fixture
def instance():
    return FakeInstance()


@pytest.fixture
def client(instance):
    monitor = instance.monitor
    registrar = Registrar(
        RegistryClient(monitor.config.registry_urls),
        lambda: registrations(monitor.config, monitor.snapshot.state, [], "h"),
        10,
    )
    restarter = Restarter("qwen", None)
    hang_probe = HangProbe(
        monitor, lambda _: (ProbeOutcome.SILENT, "no token within 3 s"), lambda _: UNKNOWN_LOAD, restarter, lambda: 50.0
    )
    limits = ResourceLimits(monitor, lambda: UNKNOWN_LOAD, restarter, lambda *_: 3 << 20, lambda: instance.now)
    continuation = ContinuationCheck(monitor, lambda _: Verdict(False, True, "it answers 404"), lambda: False)
    instance.hang_probe, instance.limits, instance.registrar = hang_probe, limits, registrar
    instance.continuation = continuation
    return Client(create_app(monitor, registrar, hang_probe, limits, continuation, clock=lambda: 100.0))
