"""Rules for models on demand that the instances of a site cannot fulfil."""

from svc.config.awake_rule_warnings import awake_rule_warnings
from svc.config.awake_rules import AwakeRules, ModelRule, Schedule
from svc.config.instance.model import CommandBackend, MockBackend
from tests.unit.instance_configs import instance_config


def instance(name, *models, on_demand=True):
    backend = MockBackend(models=models) if models else CommandBackend(command=("serve",))
    return instance_config(name=name, backend=backend, on_demand=on_demand)


def warnings_of(rule, *configs):
    rules = AwakeRules((rule,)) if isinstance(rule, ModelRule) else AwakeRules(schedules=(rule,))
    return list(awake_rule_warnings(rules, configs))


def test_a_rule_for_a_model_that_no_instance_has():
    assert warnings_of(ModelRule("qwne"), instance("a", "qwen")) == [
        "[[model]] 'qwne': name: no instance of this site has this model (did you mean qwen?); correct it, "
        "unless an instance on another host has it"
    ]
    (warning,) = warnings_of(Schedule("other", 0, 60, 1), instance("a", "qwen"), instance("b"))
    assert warning == (
        "[[schedule]] of 'other': model: no instance of this site has this model; correct it, "
        "unless b, whose TOML names no model, or an instance on another host has it"
    )
    assert not warnings_of(ModelRule("qwen"), instance("a", "qwen"))


def test_a_rule_cannot_keep_more_instances_awake_than_there_are():
    pair = instance("a", "qwen"), instance("b", "qwen", "other")
    assert warnings_of(ModelRule("qwen", awake_min=3), *pair) == [
        "[[model]] 'qwen': awake_min = 3, but 2 instances have this model; lower it, or add instances, "
        "unless an instance on another host has it"
    ]
    (warning,) = warnings_of(Schedule("other", 0, 60, awake=2), *pair)
    assert "awake = 2, but 1 instance has this model" in warning
    assert not warnings_of(ModelRule("qwen", awake_min=2), *pair)


def test_a_rule_for_a_model_that_is_always_awake_has_no_effect():
    always_on = instance("a", "qwen", on_demand=False)
    (warning,) = warnings_of(ModelRule("qwen", awake_min=1), always_on)
    assert "has no effect, because no instance of this model is on demand" in warning
    assert not warnings_of(ModelRule("qwen", awake_min=2), always_on, instance("b", "qwen"))
