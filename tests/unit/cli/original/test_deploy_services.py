"""bin/deploy_services.sh with JSON files that cannot be used."""

import pytest
from click.testing import CliRunner

from svc.base.errors import ConfigError
from svc.cli.original import deploy_services


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[" * 100_000, "cannot read it"), ('{"registry": {"port": "8\\u0000"}}', "REGISTRY_PORT: a value")],
)
def test_json_that_cannot_be_used_is_one_problem(tmp_path, text, problem):
    (tmp_path / deploy_services.REGISTRY_FILE).write_text(text)
    result = CliRunner().invoke(deploy_services.command, ["-c", str(tmp_path), "start-registry"])
    assert isinstance(result.exception, ConfigError)
    assert problem in str(result.exception)
