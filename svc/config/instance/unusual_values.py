"""Warn of values in a babysitter TOML that are valid, but probably mistakes. Pure."""

import dataclasses
from collections.abc import Iterator

from svc.base.address import is_wildcard
from svc.config.instance.declared_models import declared_models
from svc.config.instance.model import InstanceConfig
from svc.protocol.resources import SLEEP_BY_VLLM
from svc.protocol.service import AUTO_CONCURRENCY

ENGINES_WITHOUT_LOAD = frozenset(("infinilm", "infinilm-rust"))  # svc finds no load in their /metrics
ON_DEMAND_KEYS = ("idle_after", "min_awake", "wake_timeout", "sleep", "keep")
DEFAULTS = {field.name: field.default for field in dataclasses.fields(InstanceConfig)}
VLLM_SLEEP_FLAG, VLLM_SLEEP_VARIABLE = "--enable-sleep-mode", "VLLM_SERVER_DEV_MODE"


def unusual_values(config: InstanceConfig) -> Iterator[str]:
    """Yield a warning for each value that is valid, but probably a mistake; it begins with the file and the key."""
    if is_wildcard(config.host):
        yield f"{config.source}: {wildcard_warning(config.host)}"
    if config.metadata.get("max_concurrency") == AUTO_CONCURRENCY and (reason := _reports_no_load(config)):
        yield (
            f'{config.source}: metadata.max_concurrency: "auto" sets no limit here, because {reason}; '
            "write a number, or remove it"
        )

    for key, reason in _ineffective_keys(config):
        yield f"{config.source}: babysitter.{key}: {reason}"
    if config.on_demand:
        yield from (f"{config.source}: {text}" for text in _on_demand_oddities(config))


def _ineffective_keys(config: InstanceConfig) -> Iterator[tuple[str, str]]:
    """Yield the keys about instances on demand that have no effect on this instance, each with the reason."""
    if not config.on_demand:
        for key in ON_DEMAND_KEYS:
            if getattr(config, key) != DEFAULTS[key]:
                yield key, "has no effect without on_demand = true; add that, or remove the key"
    elif config.keep and config.idle_after != DEFAULTS["idle_after"]:
        yield "idle_after", "has no effect beside keep = true; remove one of them"


def _on_demand_oddities(config: InstanceConfig) -> Iterator[str]:
    if not config.resources:
        yield (
            "resources: missing, so that it starts whether its GPUs have room or not, and no other instance makes "
            "room for it; add [resources], unless it needs no GPU"
        )
    if config.startup_timeout > config.wake_timeout:
        yield (
            f"babysitter.wake_timeout: requests wait {config.wake_timeout:g} s for an instance that may take "
            f"{config.startup_timeout:g} s (startup_timeout) to start; make it as long"
        )
    if not declared_models(config):
        yield (
            "metadata.models: missing, so that its models are unknown before its first start; name them, or run "
            f"`svc wake {config.name}` once"
        )
    if config.sleep == SLEEP_BY_VLLM and config.backend.type == "vllm":
        if VLLM_SLEEP_FLAG not in config.backend.args:
            yield f'backend.args: missing "{VLLM_SLEEP_FLAG}", without which vLLM cannot sleep; add it'
        if VLLM_SLEEP_VARIABLE not in config.env:
            yield f'backend.env: missing {VLLM_SLEEP_VARIABLE} = "1", without which vLLM has no /sleep; add it'


def _reports_no_load(config: InstanceConfig) -> str:
    """Return why routers never get the load of the instance's engine; "" if they may get it."""
    if not config.load_interval:
        return "with load_interval = 0 its babysitter reports no load"
    if not config.registry_urls:
        return "without a registry its babysitter reports no load"
    engine = config.backend.type
    return f"a backend of type {engine} reports no load" if engine in ENGINES_WITHOUT_LOAD else ""


def wildcard_warning(host: str) -> str:
    """Return the warning for an instance whose host is a wildcard address, such as 0.0.0.0."""
    return (
        f"host: {host!r} is for listening: the instance registers with the address of this machine towards its "
        "registry; give that address here or in BABYSITTER_HOST to choose it"
    )
