"""Management requests to the instances of a fleet: which instances get one, and what happens to the model lists."""

import json

import pytest

from svc.client.registry import RegistryClient
from svc.management import model_lists
from svc.management.engine_request import EngineResponse, ManagementRequest
from svc.management.engines import STATIC_NOTE, Engines, Management
from svc.management.fleet import Fleet
from tests.unit.management.engines import engine

READ = ManagementRequest("GET", "/metrics")
CHANGE = ManagementRequest("POST", "/v1/load_lora_adapter", b"{}")


class FakeEngines(Engines):
    """Engines that answer at once, and list the `models` of their name."""

    def __init__(self, **models):
        super().__init__(lambda instance: "")
        self.lists = models
        self.requests = []

    def call(self, request, instance):
        def answer():
            self.requests.append((request.path, instance.name))
            if request is not model_lists.LIST:
                return EngineResponse(200)
            if instance.name not in self.lists:
                return EngineResponse(reason="connection refused")
            return EngineResponse(200, json.dumps({"data": [{"id": i} for i in self.lists[instance.name]]}).encode())

        return answer


def entry(instance, host="10.0.0.7"):
    return {"name": instance.name, "host": host, "hostname": "elsewhere", "url": instance.url}


def registered(*instances, **hosts):
    entries = {i.name: entry(i, hosts.get(i.name, "10.0.0.7")) for i in instances}
    return Fleet(entries, {i.name: i for i in instances}, {})


CLIENT = RegistryClient(["http://registry.example:18000"])


def test_an_instance_that_does_not_serve_is_skipped_unless_it_was_named():
    running, starting = engine("a", "m"), engine("b", "m", status="starting")
    engines = FakeEngines()
    management = Management(registered(running, starting), CLIENT, engines)
    results = management.run(READ, [running, starting], named=False)
    assert [(result.ok, result.skipped) for result in results] == [(True, ""), (False, "it is starting")]
    assert engines.requests == [("/metrics", "a")]
    assert all(result.ok for result in management.run(READ, [running, starting], named=True))


def test_an_instance_on_another_machines_loopback_gets_no_request():
    instance, engines = engine("a", "m"), FakeEngines()
    management = Management(registered(instance, a="127.0.0.1"), CLIENT, engines)
    (result,) = management.run(READ, [instance], named=True)
    assert "reached on elsewhere only" in result.skipped
    assert engines.requests == []


def test_a_request_that_changes_nothing_reads_no_model_list():
    instance, engines = engine("a", "m", static=True), FakeEngines(a=["m"])
    (result,) = Management(Fleet({}, {}, {"a": instance}), None, engines).run(READ, [instance], named=True)
    assert (result.models, engines.requests) == (None, [("/metrics", "a")])


@pytest.mark.parametrize(("models", "note"), [(["m", "adapter"], STATIC_NOTE), (["m"], "")])
def test_a_changed_list_of_a_static_service_gets_a_note(models, note):
    instance = engine("a", "m", static=True)
    (result,) = Management(Fleet({}, {}, {"a": instance}), None, FakeEngines(a=models)).run(CHANGE, [instance], True)
    assert (result.models.models, result.models.problem) == (models, note)


def test_only_engines_whose_file_names_no_models_are_asked_for_them():
    silent, listing = engine("silent", discovers_models=True), engine("listing", discovers_models=True)
    engines = FakeEngines(listing=["m"])
    found = engines.discover([engine("configured", "x"), silent, listing])
    assert [(i.name, i.models) for i in found] == [("configured", ("x",)), ("silent", ()), ("listing", ("m",))]
    assert sorted(name for _, name in engines.requests) == ["listing", "silent"]
