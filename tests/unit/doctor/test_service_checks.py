"""RegistryFacts, babysitters, instances, router and models: what they say of each other."""

import dataclasses

import pytest

from svc.config.instance.model import MockBackend
from svc.config.settings_file import load_settings
from svc.doctor.checks import all_checks
from svc.doctor.facts import HostName, HttpResult, PortHolder
from svc.doctor.findings import PROBLEM, WARNING, ordered
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import (
    GONE,
    NOW,
    answer,
    facts,
    found,
    process,
    registry,
    routed,
    router,
    service,
    sidecar,
    states,
)

CONTROL = "http://control:18000"


def roots(**more) -> list[str]:
    return [node.finding.key for node in ordered(all_checks.findings(facts(**more)))]


# The registry.


def test_a_registry_that_is_down_explains_the_rest():
    more = {
        "supervisord": states(registry="STOPPED"),
        "registries": [registry(health=GONE, listing=GONE)],
        "instance_probes": {"a": sidecar("a", registered=False), "b": sidecar("b", last_heartbeat=NOW - 500)},
        "router": router(health=answer({"router": "running", "table_source": "saved", "table_age_seconds": 99})),
    }
    assert roots(**more) == ["program.registry"]
    assert {"registry.silent", "babysitter.a", "babysitter.b", "router.table"} <= found(**more).keys()
    assert "500 s ago" in found(**more)["babysitter.b"].summary


def test_a_registry_elsewhere_that_does_not_answer():
    away = registry(url=CONTROL, is_local=False, health=GONE, listing=GONE)
    told = found(registries=[away])["registry.silent"]
    assert "control" in told.first_step
    assert told.fix == f"curl -sS -m 5 {CONTROL}/health"


def test_one_of_two_registries_is_a_warning():
    told = found(registries=[registry(), registry(url=CONTROL, is_local=False, health=GONE, listing=GONE)])
    assert [(f.key, f.severity) for f in told.values()] == [(f"registry.mute.{CONTROL}", WARNING)]


def test_something_else_at_its_address():
    assert "registry.other.http://127.0.0.1:18000" in found(registries=[registry(health=answer(None, 404))])


@pytest.mark.parametrize(
    ("status", "reason", "severity", "fix"),
    [
        ("degraded", "5 of 6 kept; end their leases with `svc services expire`", WARNING, "svc services expire"),
        ("failing", "the disk is full", PROBLEM, "curl -sS http://127.0.0.1:18000/health"),
    ],
)
def test_a_registry_that_is_not_well_itself(status, reason, severity, fix):
    health = answer({"registry": "running", "status": status, "reason": reason})
    [told] = found(registries=[registry(health=health)]).values()
    assert (told.severity, told.evidence, told.fix) == (severity, reason, fix)


def test_tokens_that_are_missing_or_wrong():
    configs = {"a": sample_site.config("a", 8100, token_file="t"), "b": sample_site.config("b", 8110)}
    writes = {"t": answer({}, 401), "": answer({}, 401)}
    told = found(registries=[registry(writes=writes)], configs=configs)
    assert "does not take the token in t" in told["registry.write.t"].summary
    assert "b has none" in told["registry.write."].summary
    assert "config/b.toml" in told["registry.write."].first_step


def test_a_registry_that_does_not_let_us_read():
    assert found(registries=[registry(listing=answer({}, 401))])["registry.read"].severity == PROBLEM


# Babysitters and the instances behind them.


def test_a_babysitter_that_does_not_answer():
    mute = dataclasses.replace(sidecar("a"), info=GONE, health=GONE)
    assert found(instance_probes={"a": mute})["babysitter.a"].fix == "supervisorctl restart a:babysitter"


def test_the_reason_why_it_is_not_registered_is_that_of_its_log():
    log = {"a:babysitter": ("WARNING not registered, trying again: url: no such thing",)}
    told = found(instance_probes={"a": sidecar("a", registered=False)}, logs=log)["babysitter.a"]
    assert told.evidence == "url: no such thing"


@pytest.mark.parametrize(("token", "fix"), [("t", "svc remove a a-server"), ("", "svc services show a")])
def test_a_name_that_another_has(token, fix):
    line = (
        "not registered, trying again: a belongs to the babysitter on gpu9 that registered it, at http://10.0.0.9:8101,"
    )
    told = load_settings(flags={"registry": {"token_file": token}})
    one = found(instance_probes={"a": sidecar("a", registered=False)}, logs={"a:babysitter": (line,)}, settings=told)
    assert "http://10.0.0.9:8101 on gpu9" in one["babysitter.a"].summary
    assert one["babysitter.a"].fix == fix


@pytest.mark.parametrize(
    ("models", "said", "severity"),
    [
        (HttpResult("u", error="it does not answer in time"), "hangs", PROBLEM),
        (answer({}, 503), "still loads", WARNING),
        (answer({}, 404), "cannot be fetched", PROBLEM),
        (answer({"data": []}), "cannot be fetched", PROBLEM),
    ],
)
def test_models_that_the_babysitter_cannot_fetch(models, said, severity):
    told = found(instance_probes={"a": dataclasses.replace(sidecar("a"), models=models)})["models.a"]
    assert said in told.summary
    assert told.severity == severity


@pytest.mark.parametrize(
    ("key_file", "said", "first"),
    [
        ("", "wants an API key", "name that: api_key_file under [backend] in config/a.toml"),
        ("var/a.key", "refuses the API key in var/a.key", "write its own key into var/a.key"),
    ],
)
def test_an_engine_that_wants_a_key_of_its_babysitter(key_file, said, first):
    configs = {
        **facts().configs,
        "a": sample_site.config("a", 8100, backend=MockBackend(models=("m",), api_key_file=key_file)),
    }
    shut = dataclasses.replace(sidecar("a", not_ready="it wants an API key"), models=answer({}, 401))
    told = found(instance_probes={"a": shut}, configs=configs)["models.a"]
    assert said in told.summary
    assert first in told.first_step


def test_an_engine_whose_babysitter_has_its_key_is_well():
    assert "models.a" not in found(instance_probes={"a": dataclasses.replace(sidecar("a"), models=answer({}, 401))})


@pytest.mark.parametrize(
    ("keys_file", "router_key", "said", "severity"),
    [
        ("keys.toml", False, "wants a key that the router lacks", PROBLEM),
        ("keys.toml", True, "refuses the key that the router has", PROBLEM),
        ("", True, "refuses the key that the router has", PROBLEM),
        ("", False, "wants a key that the router lacks", WARNING),
    ],
)
def test_an_engine_that_wants_a_key_of_the_router(keys_file, router_key, said, severity):
    told = load_settings(flags={"router": {"keys_file": keys_file}})
    shut = dataclasses.replace(sidecar("a"), inference=answer({}, 401), router_key=router_key)
    one = found(instance_probes={"a": shut}, settings=told)["upstream.a"]
    assert said in one.summary
    assert one.severity == severity
    assert 'under [instances], a-server = "KEY"' in one.first_step
    assert "upstream.a" not in found(instance_probes={"a": dataclasses.replace(shut, inference=answer({}, 405))})


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
        in found(**more, host_names={"10.0.0.7": HostName("10.0.0.7", ("10.0.0.7",))})["outside.a"].first_step
    )
    assert "outside.a" not in found(
        **more, host_names={"10.0.0.7": HostName("10.0.0.7", ("10.0.0.7",), is_local=False)}
    )


def test_an_engine_that_lists_its_models_but_is_not_ready():
    cold = sidecar("a", not_ready="GET /health answers 503")
    told = found(instance_probes={"a": cold})["models.a"]
    assert (told.severity, told.evidence) == (WARNING, "GET /health answers 503")
    assert "its engine is not ready" in told.summary


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_server_whose_models_its_toml_names_need_not_list_them(status):
    configs = {**facts().configs, "a": sample_site.config("a", 8100, metadata={"models": ["m"]})}
    assert "models.a" not in found(
        configs=configs, instance_probes={"a": dataclasses.replace(sidecar("a"), models=answer({}, status))}
    )


def test_one_that_loads_for_too_long():
    slow = dataclasses.replace(sidecar("a"), models=answer({}, 503))
    supervisor = states(a_server=process("a:server", age=5000))
    assert found(instance_probes={"a": slow}, supervisord=supervisor)["models.a"].severity == PROBLEM


def test_an_instance_and_a_router_that_speak_to_two_registries():
    component = dataclasses.replace(sample_site.COMPONENTS[2], registry_url=CONTROL)
    components, rest = [*sample_site.COMPONENTS[:2], component], {"router": router([]), "registries": [registry([])]}
    assert "elsewhere.a" in found(components=components, **rest)
    assert "elsewhere.a" not in found(components=components, router=router(), registries=[registry()])


# What the registry lists.


def test_a_drained_instance_whose_models_others_have_is_a_warning():
    told = found(registries=[registry([service("a", 8100, drained=True, is_healthy=False), service("b", 8110)])])
    assert [(f.key, f.severity, f.fix) for f in told.values()] == [
        ("instance.a-server", WARNING, "svc undrain a-server")
    ]


def test_the_last_one_that_is_drained_is_a_problem_and_why_its_model_is_gone():
    drained = [service("a", 8100, ("x",), drained=True, is_healthy=False), service("b", 8110)]
    more = {
        "registries": [registry(drained)],
        "router": router([routed("a", 8100, ("x",), healthy=False), routed("b", 8110)]),
    }
    assert roots(**more) == ["instance.a-server"]
    assert found(**more)["instance.a-server"].severity == PROBLEM
    assert "503" in found(**more)["model.x"].summary


def test_a_lease_that_has_ended_elsewhere():
    gone = service("c", 8100, is_healthy=False, host="10.0.0.7", hostname="gpu7", last_heartbeat=NOW - 300)
    told = found(registries=[registry([service("a", 8100), service("b", 8110), gone])])["instance.c-server"]
    assert "expired" in told.summary
    assert "300 s ago" in told.evidence
    assert "gpu7" in told.first_step


def test_an_instance_that_the_registry_cannot_reach_although_it_is_well_here():
    cut = service("a", 8100, is_healthy=False, health_status="unhealthy")
    asked = {"a-server": answer({"health_status": "unhealthy"})}
    one = registry([cut, service("b", 8110)], checks=asked)
    told = found(registries=[one])["instance.a-server"]
    assert "the registry cannot reach it at http://localhost:8101/health" in told.summary
    healed = dataclasses.replace(one, checks={"a-server": answer({"health_status": "healthy"})})
    assert found(registries=[healed])["instance.a-server"].severity == WARNING


def test_another_one_of_our_name():
    told = found(registries=[registry([service("a", 8100, host="10.0.0.9", hostname="gpu9"), service("b", 8110)])])
    assert "10.0.0.9:8100 on gpu9" in told["owner.a"].summary


def test_loopback_in_the_list_of_a_registry_elsewhere():
    away = registry([service("a", 8100), service("b", 8110), service("c", 8100)], url=CONTROL, is_local=False)
    assert "loopback.c-server" in found(registries=[away])


def test_one_that_is_missing():
    told = found(registries=[registry([service("a", 8100)])])
    assert told["instance.b-server"].severity == PROBLEM


# The router.


def test_a_router_without_a_table():
    waiting = router([], ready=answer({"status": "waiting for the registry"}, 503))
    assert found(router=waiting)["router.waiting"].severity == PROBLEM


def test_an_old_table():
    health = answer({"router": "running", "table_source": "registry", "table_age_seconds": 120.0})
    assert "120 s old" in found(router=router(health=health))["router.table"].summary


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({"healthy": False, "ejected": True, "error_count": 5}, "router.ejected.a-server"),
        ({"healthy": False}, "router.unused.a-server"),
    ],
)
def test_an_instance_that_the_router_does_not_use(told, key):
    assert key in found(router=router([routed("a", 8100, **told), routed("b", 8110)]))


def test_an_instance_that_the_router_cannot_reach():
    one = router([routed("a", 8100, healthy=False), routed("b", 8110)], connect_errors={"a-server": "no route to host"})
    assert "no route to host" in found(router=one)["router.unreached.a-server"].evidence


def test_an_instance_that_the_router_does_not_know():
    assert "router.missing.b-server" in found(router=router([routed("a", 8100)]))


@pytest.mark.parametrize(("waiting", "severity"), [(100, PROBLEM), (60, WARNING), (3, None)])
def test_the_queue(waiting, severity):
    metrics = answer({}, text=f'svc_router_queue{{model="m"}} {waiting}.0\n')
    told = found(router=router(metrics=metrics)).get("router.queue")
    assert (told.severity if told else None) == severity


# Models.


def test_a_model_without_an_instance_comes_of_what_is_wrong_with_them():
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
    assert "a-server, b-server" in found(**more)["model.m"].evidence


def test_a_router_that_knows_nobody():
    configs = {name: sample_site.config(name, 8100, backend=MockBackend(models=())) for name in "ab"}
    assert "model." in found(router=router([]), registries=[registry([])], configs=configs)


@pytest.mark.parametrize(
    ("asked", "meant"), [("M", "m"), ("org/m", "m"), ("qwen2.5-7B", "Qwen/Qwen2.5-7B"), ("zzz", "")]
)
def test_the_model_that_is_asked_for(asked, meant):
    models = ("m", "Qwen/Qwen2.5-7B")
    both = {
        "router": router([routed("a", 8100, models), routed("b", 8110)]),
        "registries": [registry([service("a", 8100, models), service("b", 8110)])],
    }
    [told] = found(model=asked, **both).values()
    assert told.key == f"model.{asked}"
    assert ("did you mean" in told.first_step) == bool(meant)
    assert meant in told.first_step
    assert found(model="m", **both) == {}


def test_a_model_that_a_file_has_and_nobody_serves_yet():
    configs = {**facts().configs, "c": sample_site.config("c", 8120, backend=MockBackend(models=("fresh",)))}
    told = found(model="fresh", configs=configs)["model.fresh"]
    assert "c, which does not serve it yet" in told.evidence
    assert told.fix == "svc up"


def test_an_alias_that_leads_nowhere():
    told = load_settings(flags={"router": {"aliases": ("gpt=mm",)}})
    one = found(settings=told)["alias.gpt"]
    assert "'mm', which nobody serves" in one.summary
    assert "did you mean m?" in one.first_step
    assert found(settings=load_settings(flags={"router": {"aliases": ("gpt=m",)}}), model="gpt") == {}


def test_a_router_whose_clients_need_keys_tells_nothing_of_models():
    assert found(router=router(services=None)) == {}
    keyed = dataclasses.replace(router(), services=answer({}, 401))
    assert found(router=keyed, model="zzz") == {}


def test_two_babysitters_on_one_port():
    told = found(
        instance_probes={"a": sidecar("c"), "b": sidecar("b")}, listeners={**facts().listeners, 1: PortHolder(1, "x")}
    )
    assert "the babysitter of c" in told["babysitter.a"].summary


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({"host": "0.0.0.0"}, "without an API key"),
        ({"host": "0.0.0.0", "cors_origins": "*"}, "web pages of any origin"),
        ({"host": "0.0.0.0", "keys_file": "keys.toml"}, ""),
        ({"host": "localhost"}, ""),
    ],
)
def test_a_router_that_serves_other_machines_without_keys_is_a_warning(lines, said):
    told = found(settings=load_settings(flags={"router": lines}))
    assert said in told["router.open"].summary if said else "router.open" not in told


def test_the_setting_for_a_read_token_is_the_routers_where_there_is_one():
    told = found(registries=[registry(listing=answer({}, 401))])
    assert "registry_token_file under [router]" in told["registry.read"].first_step
