"""Find models whose load can never wake one more instance, although they have several. Pure."""

from collections.abc import Iterator, Sequence

from svc.config.instance.declared_models import declared_models
from svc.config.instance.model import InstanceConfig
from svc.config.readers import quoted


def growth_warnings(configs: Sequence[InstanceConfig]) -> Iterator[str]:
    """Yield a warning for each instance without max_concurrency that keeps the others of its model asleep.

    Requests wait only for instances that have reached their max_concurrency, and only requests that wait wake one more
    instance. The warning begins with the file and the key.
    """
    for config in configs:
        if "max_concurrency" in config.metadata:
            continue
        for model in declared_models(config):
            others = [c.name for c in configs if c is not config and c.on_demand and model in declared_models(c)]
            if others:
                yield (
                    f"{config.source}: metadata.max_concurrency: missing, so that requests for {quoted(model)} never "
                    f"wait while {config.name} is awake, and its load wakes none of {', '.join(others)}; add it, such "
                    "as max_concurrency = 16"
                )
                break
