"""Findings about models and aliases."""

import dataclasses

import pytest

from svc.base.toml import parse_toml
from svc.config.instance.model import MockBackend
from svc.config.settings_file import load_settings
from svc.doctor.checks import all_checks
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import (
    answer,
    facts,
    findings,
    registry,
    roots,
    routed,
    router,
    service,
    states,
)


def test_a_model_without_a_healthy_instance_is_a_consequence():
    more = {
        "supervisord": states(a_server="FATAL", b_server="STOPPED"),
        "router": router([routed("a", 8100, healthy=False), routed("b", 8110, healthy=False)]),
        "registries": [
            registry(
                [
                    service("a", 8100, status="failed", is_healthy=False),
                    service("b", 8110, status="stopped", is_healthy=False),
                ]
            )
        ],
    }
    assert roots(**more) == ["program.a:server", "program.b:server"]
    assert "a-server, b-server" in findings(**more)["model.m"].evidence


@pytest.mark.parametrize("reason", ["Exited with code 3", ""])
def test_requests_wait_for_an_instance_on_demand_that_starts(reason):
    metadata = {**service("a", 8100)["metadata"], "on_demand": True, "restart_reason": reason}
    starting = {"status": "starting", "metadata": metadata}
    site = {
        "router": router([routed("a", 8100, healthy=False, **starting)]),
        "registries": [registry([service("a", 8100, is_healthy=False, **starting)])],
        "settings": load_settings(flags={"router": {"aliases": ("gpt=m",)}}),
    }
    found = {key: finding.summary for key, finding in findings(**site).items() if key.startswith(("model.", "alias."))}
    summary = "model 'm': requests wait for a-server, and get 503 when its wake_timeout is over"
    assert found == ({"model.m": summary} if reason else {})


def test_a_router_without_any_instance():
    configs = {name: sample_site.config(name, 8100, backend=MockBackend(models=())) for name in "ab"}
    assert "model." in findings(router=router([]), registries=[registry([])], configs=configs)


@pytest.mark.parametrize(
    ("model", "hint"), [("M", "m"), ("org/m", "m"), ("qwen2.5-7B", "Qwen/Qwen2.5-7B"), ("zzz", "")]
)
def test_the_model_that_the_operator_asks_about(model, hint):
    models = ("m", "Qwen/Qwen2.5-7B")
    both = {
        "router": router([routed("a", 8100, models), routed("b", 8110)]),
        "registries": [registry([service("a", 8100, models), service("b", 8110)])],
    }
    [result] = findings(model=model, **both).values()
    assert result.key == f"model.{model}"
    assert ("did you mean" in result.first_step) == bool(hint)
    assert hint in result.first_step
    assert findings(model="m", **both) == {}


def test_a_model_of_a_file_that_no_instance_serves_yet():
    configs = {**facts().configs, "c": sample_site.config("c", 8120, backend=MockBackend(models=("fresh",)))}
    result = findings(model="fresh", configs=configs)["model.fresh"]
    assert "c, which does not serve it yet" in result.evidence
    assert result.fix == "svc up"


def test_an_alias_of_a_model_that_no_instance_serves():
    settings = load_settings(flags={"router": {"aliases": ("gpt=mm",)}})
    entry = findings(settings=settings)["alias.gpt"]
    assert "'mm', which no instance serves" in entry.summary
    assert "did you mean m?" in entry.first_step
    assert findings(settings=load_settings(flags={"router": {"aliases": ("gpt=m",)}}), model="gpt") == {}


def test_a_router_that_needs_keys_shows_no_models():
    assert findings(router=router(services=None)) == {}
    keyed = dataclasses.replace(router(), services=answer({}, 401))
    assert findings(router=keyed) == {}
    assert "models" not in all_checks.healthy_subjects(facts(router=keyed))


def test_a_model_of_a_router_that_needs_keys_is_looked_up_in_the_registry():
    keyed = dataclasses.replace(router(), services=answer({}, 401))
    assert findings(router=keyed, model="m") == {}
    unknown = findings(router=keyed, model="M")["model.M"]
    assert "did you mean m?" in unknown.first_step
    assert unknown.fix == f'curl -sS -H "Authorization: Bearer KEY" {sample_site.ROUTER}/v1/models'
    failed = registry([service("a", 8100, status="failed", is_healthy=False)])
    assert "503" in findings(router=keyed, model="m", registries=[failed])["model.m"].summary
    settings = load_settings(flags={"router": {"aliases": ("gpt=mm", "good=m")}})
    assert findings(router=keyed, model="good", settings=settings) == {}
    assert "alias.gpt" in findings(router=keyed, model="gpt", settings=settings)


def test_a_model_list_that_cannot_be_read_is_no_healthy_result():
    keyed = dataclasses.replace(router(), services=answer({}, 401))
    static = load_settings(flags={"router": {"static_services": "config/static.json"}})
    for more in ({"registries": []}, {"settings": static}):
        result = findings(router=keyed, model="zzz", **more)["model.zzz"]
        assert "cannot be read" in result.summary
        assert "Bearer KEY" in result.fix


@pytest.mark.parametrize("aliases", [(), ("gpt=m",)])
def test_the_alias_can_be_pasted_into_the_file(aliases):
    settings = load_settings(flags={"router": {"aliases": aliases}})
    lines = findings(model='a"b', settings=settings)['model.a"b'].first_step.splitlines()[1:-1]
    header = "[router.aliases]\n" if aliases else ""
    assert parse_toml((header + "\n".join(lines)).encode()) == {"router": {"aliases": {'a"b': "MODEL"}}}
