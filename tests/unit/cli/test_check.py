"""`svc check`: what it says of an empty directory, and of what may be wrong."""

import pytest
from click.testing import CliRunner

from svc.cli.main import svc


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("svc.site.new_site.command_name", lambda: "./svc")
    return lambda *tomls, **environ: CliRunner().invoke(svc, ["check", *tomls], env=environ)


def test_an_empty_directory_says_what_to_do_first(check, tmp_path):
    result = check()
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"svc: {tmp_path}: no site: neither config/svc.toml nor ")
    assert result.stderr.endswith(" > config/demo.toml && ./svc up\n")
    command = result.stderr.partition("printf '")[2].partition("'")[0]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo.toml").write_text(command.replace("\\n", "\n"))
    assert check().stdout == "1 instance: all right\n"


@pytest.mark.parametrize("file", ["config/svc.toml", "supervisord.conf"])
def test_a_site_without_instances_says_what_would_run(check, tmp_path, file):
    (tmp_path / "config").mkdir()
    (tmp_path / file).touch()
    result = check()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("0 instances: only the registry and the router would run; to begin with one: ")


def test_a_site_that_wants_no_instances_is_all_right(check):
    result = check(LAUNCH_COMPONENTS="registry,router")
    assert (result.exit_code, result.stdout) == (0, "0 instances: all right\n")


def test_errors_of_svc_toml_do_not_hide_those_of_instances(check, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "svc.toml").write_text("[router]\nport = 0\n[rooter]\n")
    (tmp_path / "config" / "a.toml").write_text('name = "a"\nport = 8000\n[backend]\ntype = "moc"\n')
    result = check()
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["config/svc.toml"] * 2 + ["config/a.toml"]


def test_shares_of_addresses_beside_keys_are_a_warning(check, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "svc.toml").write_text('[router]\nfair = "address"\n')
    assert check(LAUNCH_COMPONENTS="router").stderr == ""
    result = check(LAUNCH_COMPONENTS="router", ROUTER_KEYS_FILE="var/keys.toml")
    assert (result.exit_code, result.stdout) == (0, "0 instances: no errors, 1 warning\n")
    assert result.stderr.startswith('svc: warning: router.fair: "address" has no effect beside keys_file')


def test_registries_that_replace_those_of_a_file_are_shown(check, tmp_path):
    (tmp_path / "config").mkdir()
    backend = '[backend]\ntype = "mock"\nmodels = ["m"]\n'
    toml = f'name = "a"\nhost = "gpu1"\nport = 8100\nregistry_url = "http://own:1"\n{backend}'
    (tmp_path / "config" / "a.toml").write_text(toml)
    assert check().stdout == "registry of a: http://own:1\n1 instance: all right\n"
    [line, _] = check(REGISTRY_URL="http://b:1,http://c:1").stdout.splitlines()
    assert line.startswith("registry of a: http://b:1, then http://c:1 (")
    assert "http://own:1" in line


def test_a_missing_path_of_a_model_is_a_warning(check, tmp_path):
    (tmp_path / "config").mkdir()
    toml = 'name = "a"\nport = 8100\n[backend]\ntype = "vllm"\nmodel = "/models/none"\n'
    (tmp_path / "config" / "a.toml").write_text(toml)
    result = check()
    assert (result.exit_code, result.stdout) == (0, "1 instance: no errors, 1 warning\n")
    assert result.stderr == (
        "svc: warning: config/a.toml: backend.model: '/models/none' is not on this machine; correct it, "
        "unless the instance runs on another machine\n"
    )


def test_a_rule_for_a_model_that_no_instance_has_is_a_warning(check, tmp_path):
    (tmp_path / "config").mkdir()
    toml = 'name = "a"\nport = 8100\n[babysitter]\non_demand = true\n[resources]\ngpus = [0]\n'
    (tmp_path / "config" / "a.toml").write_text(toml + '[backend]\ntype = "mock"\nmodels = ["qwen"]\n')
    rules = tmp_path / "config" / "svc.toml"
    rules.write_text('[[model]]\nname = "qwne"\nawake_min = 1\n')
    result = check()
    assert (result.exit_code, result.stdout) == (0, "1 instance: no errors, 1 warning\n")
    assert result.stderr.startswith("svc: warning: config/svc.toml: [[model]] 'qwne': name: no instance of this site ")
    assert check("config/a.toml").stdout == "1 instance: all right\n", "other files may have the model"
