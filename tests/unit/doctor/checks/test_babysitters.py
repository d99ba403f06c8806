"""Findings about babysitters and the engines behind them."""

import dataclasses

import pytest

from svc.config.instance.model import MockBackend
from svc.config.settings_file import load_settings
from svc.doctor.facts import HostName, PortHolder
from svc.doctor.findings import PROBLEM, WARNING
from svc.doctor.http_result import HttpResult
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import (
    GONE,
    answer,
    facts,
    findings,
    process,
    registry,
    router,
    service,
    sidecar,
    states,
)

CONTROL = "http://control:18000"


def test_a_babysitter_that_does_not_answer():
    mute = dataclasses.replace(sidecar("a"), info=GONE, health=GONE)
    assert findings(instance_probes={"a": mute})["babysitter.a"].fix == "supervisorctl restart a:babysitter"


def test_the_reason_for_no_registration_comes_from_the_log():
    log = {"a:babysitter": ("WARNING not registered, trying again: url: no such thing",)}
    result = findings(instance_probes={"a": sidecar("a", registered=False)}, logs=log)["babysitter.a"]
    assert result.evidence == "url: no such thing"


@pytest.mark.parametrize(("token", "fix"), [("t", "svc remove a a-server"), ("", "svc services show a")])
def test_a_name_that_belongs_to_another_babysitter(token, fix):
    line = (
        "not registered, trying again: a belongs to the babysitter on gpu9 that registered it, at http://10.0.0.9:8101,"
    )
    settings = load_settings(flags={"registry": {"token_file": token}})
    entry = findings(
        instance_probes={"a": sidecar("a", registered=False)},
        logs={"a:babysitter": (line,)},
        settings=settings,
        registries=[registry([{**service("a", 8101), "name": "a"}, service("a", 8100), service("b", 8110)])],
    )
    assert "http://10.0.0.9:8101 on gpu9" in entry["babysitter.a"].summary
    assert entry["babysitter.a"].fix == fix


@pytest.mark.parametrize(
    ("models", "text", "severity"),
    [
        (HttpResult("u", error="it does not answer in time"), "hangs", PROBLEM),
        (GONE, "a:server: does not answer", PROBLEM),
        (answer({}, 503), "still loads", WARNING),
        (answer({}, 404), "cannot be fetched", PROBLEM),
        (answer({"data": []}), "cannot be fetched", PROBLEM),
    ],
)
def test_models_that_the_babysitter_cannot_fetch(models, text, severity):
    result = findings(instance_probes={"a": dataclasses.replace(sidecar("a"), models=models)})["models.a"]
    assert text in result.summary
    assert result.severity == severity


@pytest.mark.parametrize(
    ("key_file", "text", "first"),
    [
        ("", "wants an API key", "name that: api_key_file under [backend] in config/a.toml"),
        ("var/a.key", "refuses the API key in var/a.key", "write its own key into var/a.key"),
    ],
)
def test_an_engine_that_wants_an_api_key_of_its_babysitter(key_file, text, first):
    configs = {
        **facts().configs,
        "a": sample_site.config("a", 8100, backend=MockBackend(models=("m",), api_key_file=key_file)),
    }
    shut = dataclasses.replace(sidecar("a", not_ready="it wants an API key"), models=answer({}, 401))
    result = findings(instance_probes={"a": shut}, configs=configs)["models.a"]
    assert text in result.summary
    assert first in result.first_step


def test_an_engine_whose_babysitter_has_its_key_is_healthy():
    assert "models.a" not in findings(instance_probes={"a": dataclasses.replace(sidecar("a"), models=answer({}, 401))})


@pytest.mark.parametrize(
    ("keys_file", "router_key", "text", "severity"),
    [
        ("keys.toml", False, "wants a key that the router lacks", PROBLEM),
        ("keys.toml", True, "refuses the key that the router has", PROBLEM),
        ("", True, "refuses the key that the router has", PROBLEM),
        ("", False, "wants a key that the router lacks", WARNING),
    ],
)
def test_an_engine_that_wants_an_api_key_of_the_router(keys_file, router_key, text, severity):
    settings = load_settings(flags={"router": {"keys_file": keys_file}})
    shut = dataclasses.replace(sidecar("a"), inference=answer({}, 401), router_key=router_key)
    entry = findings(instance_probes={"a": shut}, settings=settings)["upstream.a"]
    assert text in entry.summary
    assert entry.severity == severity
    assert 'under [instances], a-server = "KEY"' in entry.first_step
    assert "upstream.a" not in findings(instance_probes={"a": dataclasses.replace(shut, inference=answer({}, 405))})


def test_an_instance_that_listens_on_loopback_only():
    components = [*sample_site.COMPONENTS[:2], dataclasses.replace(sample_site.COMPONENTS[2], host="10.0.0.7")]
    shut = dataclasses.replace(sidecar("a"), models_from_outside=GONE)
    more = {
        "components": components,
        "registries": [registry([service("a", 8100, host="10.0.0.7")])],
        "instance_probes": {"a": shut},
    }
    assert (
        "--host 0.0.0.0"
        in findings(**more, host_names={"10.0.0.7": HostName("10.0.0.7", ("10.0.0.7",))})["outside.a"].first_step
    )
    assert "outside.a" not in findings(
        **more, host_names={"10.0.0.7": HostName("10.0.0.7", ("10.0.0.7",), is_local=False)}
    )


def test_an_engine_that_lists_its_models_but_is_not_ready():
    cold = sidecar("a", not_ready="GET /health answers 503")
    result = findings(instance_probes={"a": cold})["models.a"]
    assert (result.severity, result.evidence) == (WARNING, "GET /health answers 503")
    assert "its engine is not ready" in result.summary


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_server_whose_models_its_toml_names_need_not_list_them(status):
    configs = {**facts().configs, "a": sample_site.config("a", 8100, metadata={"models": ["m"]})}
    assert "models.a" not in findings(
        configs=configs, instance_probes={"a": dataclasses.replace(sidecar("a"), models=answer({}, status))}
    )


def test_an_engine_that_loads_for_too_long():
    slow = dataclasses.replace(sidecar("a"), models=answer({}, 503))
    supervisor = states(a_server=process("a:server", age=5000))
    assert findings(instance_probes={"a": slow}, supervisord=supervisor)["models.a"].severity == PROBLEM


def test_an_instance_and_a_router_that_use_two_registries():
    component = dataclasses.replace(sample_site.COMPONENTS[2], registry_url=CONTROL)
    components, rest = [*sample_site.COMPONENTS[:2], component], {"router": router([]), "registries": [registry([])]}
    assert "elsewhere.a" in findings(components=components, **rest)
    assert "elsewhere.a" not in findings(components=components, router=router(), registries=[registry()])


def test_two_babysitters_on_one_port():
    result = findings(
        instance_probes={"a": sidecar("c"), "b": sidecar("b")}, listeners={**facts().listeners, 1: PortHolder(1, "x")}
    )
    assert "the babysitter of c" in result["babysitter.a"].summary
