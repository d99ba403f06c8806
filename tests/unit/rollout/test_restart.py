"""What a restart refuses before anything moves."""

from pathlib import Path
from typing import Any, cast

import pytest

from svc.base.errors import ConfigError
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.rollout.context import RolloutContext, RolloutOptions
from svc.rollout.observation import RolloutObservation
from svc.rollout.restart import _require_valid_configs
from svc.rollout.tasks import InstanceOperation, RolloutLimits, Task
from svc.site.components import Component

TASK = Task("a", InstanceOperation.RESTART)


@pytest.fixture
def context(tmp_path: Path) -> RolloutContext:
    settings = load_settings(flags={"launch": {"router_url": "http://one:8000,http://two:8000"}})
    component = Component("a", "babysitter", "localhost", (8100, 8101), TASK.programs, source="a.toml")
    return RolloutContext(
        site=Site(tmp_path),
        options=RolloutOptions(settings, RolloutLimits()),
        observer=cast("Any", None),  # the validation asks no server
        conf_d=tmp_path,
        components={"a": component},
        observation=RolloutObservation(0.0, {}, [], {}),
        console=cast("Any", None),
    )


def write(context: RolloutContext, port: object) -> None:
    (context.conf_d / "a.toml").write_text(f'name = "a"\nport = {port}\n[backend]\ntype = "mock"\nmodels = ["m"]\n')


def test_several_routers_of_the_command_are_no_error_of_the_toml(context: RolloutContext) -> None:
    write(context, 8100)

    _require_valid_configs(context, [TASK.name])


def test_a_toml_that_its_babysitter_would_refuse_is_refused(context: RolloutContext) -> None:
    write(context, '"x"')

    with pytest.raises(ConfigError, match="port"):
        _require_valid_configs(context, [TASK.name])
