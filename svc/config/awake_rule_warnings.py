"""Find rules in svc.toml that keep more instances of a model awake than there are. Pure."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

from svc.base.similar_names import did_you_mean
from svc.config.awake_rules import AwakeRules
from svc.config.instance.declared_models import declared_models
from svc.config.instance.model import InstanceConfig
from svc.config.readers import quoted


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    """One entry of a section, and the number of instances that it keeps awake."""

    entry: str
    model: str
    model_key: str
    awake: int
    awake_key: str


def awake_rule_warnings(rules: AwakeRules, configs: Sequence[InstanceConfig]) -> Iterator[str]:
    """Yield a warning for each rule that the instances of its site cannot fulfil. It begins with section and key.

    Unknown here are instances on other hosts, and the models of an instance whose TOML names none.
    """
    unnamed = [config.name for config in configs if not declared_models(config)]
    unknown = f"{', '.join(unnamed)}, whose TOML names no model, or " if unnamed else ""
    exception = f"unless {unknown}an instance on another host has it"
    counts = Counter(model for config in configs for model in set(declared_models(config)))
    on_demand = {model for config in configs if config.on_demand for model in declared_models(config)}
    for rule in _entries(rules):
        count = counts[rule.model]
        if not count:
            question = did_you_mean(rule.model, on_demand, "")
            yield (
                f"{rule.entry}: {rule.model_key}: no instance of this site has this model"
                f"{f' ({question})' if question else ''}; correct it, {exception}"
            )
        elif rule.model not in on_demand:
            yield (
                f"{rule.entry}: has no effect, because no instance of this model is on demand; give one "
                f"on_demand = true, or remove the rule, {exception}"
            )
        elif rule.awake > count:
            have = "1 instance has" if count == 1 else f"{count} instances have"
            yield (
                f"{rule.entry}: {rule.awake_key} = {rule.awake}, but {have} this model; lower it, or add "
                f"instances, {exception}"
            )


def _entries(rules: AwakeRules) -> Iterator[_Rule]:
    for rule in rules.models:
        yield _Rule(f"[[model]] {quoted(rule.name)}", rule.name, "name", rule.awake_min, "awake_min")
    for schedule in rules.schedules:
        entry = f"[[schedule]] of {quoted(schedule.model)}"
        yield _Rule(entry, schedule.model, "model", schedule.awake, "awake")
