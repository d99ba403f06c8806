"""The command lines of the original's documents and launch scripts, as the tables of a babysitter TOML."""

import shlex

import pytest
from click.testing import CliRunner

from svc.base.errors import ConfigError
from svc.cli.original import infini_babysitter
from svc.cli.original.babysitter_toml import BabysitterFlags, merged_document
from svc.config.instance.load import load_one
from svc.config.toml_writer import toml_text

FILE = {
    "name": "from-file",
    "host": "gpu1",
    "port": 8100,
    "registry_url": "http://localhost:18000",
    "babysitter": {"max_restarts": 3, "restart_delay": 1},
    "backend": {
        "type": "command",
        "command": "python3",
        "args": ["-m", "server"],
        "work_dir": "/srv",
        "env": {"A": "1", "B": "2"},
    },
    "metadata": {"cache_type": "paged"},
}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that parses a command line and returns what would run: its configuration."""
    monkeypatch.chdir(tmp_path)
    configs = []
    monkeypatch.setattr(
        infini_babysitter.single_instance, "run", lambda path, settings, *_: configs.append(load_one(path, settings))
    )

    def run(line, **environ):
        result = CliRunner().invoke(infini_babysitter.command, shlex.split(line), env=environ, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return configs[-1]

    return run


def refused(line_or_flags, file=None):
    with pytest.raises(ConfigError) as caught:
        merged_document(line_or_flags, file)
    return caught.value.problems[0]


def test_a_command_with_arguments(run):
    config = run(
        '--port 8100 --service-type command --command "python3 -m vllm.entrypoints.openai.api_server" '
        '--args "--model /models/llama --port 8100" --registry-url http://localhost:18000'
    )
    assert config.name == "command-8100"
    assert shlex.join(config.argv) == (
        "python3 -m vllm.entrypoints.openai.api_server --model /models/llama --port 8100"
    )
    assert config.registry_urls == ("http://localhost:18000",)
    assert (config.max_restarts, config.restart_delay, config.heartbeat_interval) == (10000, 5, 30)
    assert config.host == "localhost"


def test_arguments_are_split_at_blanks_alone(run):
    config = run("""--port 8100 --command 'serve {"a":1}' --args '--override {"b":2}'""")
    assert config.argv == ["serve", '{"a":1}', "--override", '{"b":2}']


def test_vllm(run):
    config = run(
        '--port 8100 --service-type vLLM --path /models/llama --args "--tensor-parallel-size 1" '
        "--registry-url http://localhost:18000"
    )
    assert config.name == "vllm-8100"
    assert config.argv[-2:] == ["--tensor-parallel-size", "1"]
    assert config.argv[3:5] == ["--model", "/models/llama"]


def test_a_mock(run):
    config = run('--port 8100 --service-type mock --args "model-a,model-b" --registry-url http://localhost:18000')
    assert config.backend.models == ("model-a", "model-b")
    assert run("--port 8100 --service-type mock --name m").backend.models == ("test-model",)


def test_infinilm_rust(run):
    config = run("--port 8200 --service-type InfiniLM-Rust --path /path/to/config.toml")
    assert config.name == "infinilm-rust-8200"
    assert config.argv == ["xtask", "service", "/path/to/config.toml", "-p", "8200"]


def test_infinilm_with_the_flags_of_its_server(run):
    config = run(
        "--host localhost --port 8100 --service-type InfiniLM --path /models/9g --max-restarts 10000 --restart-delay 5 "
        "--heartbeat-interval 30 --registry http://localhost:18000 --router http://localhost:8000 --dev metax --ndev 1 "
        "--max-batch 3 --request-timeout 30 --max-concurrency 5 --launch-script launch_server.py --awq"
    )
    assert config.backend.launch_script == "launch_server.py"
    assert config.backend.model_path == "/models/9g"
    assert shlex.join(config.backend.args) == (
        "--dev metax --ndev 1 --max-batch 3 --request-timeout 30 --max-concurrency 5 --awq"
    )
    assert config.router_url == "http://localhost:8000"


def test_variables_of_the_environment_in_every_form(run):
    config = run('--port 8100 --command serve --env "A=1 B=x=y" --env C=2 D=3')
    assert config.env == {"A": "1", "B": "x=y", "C": "2", "D": "3"}


def test_flags_override_a_file(run, tmp_path):
    (tmp_path / "a.toml").write_text(toml_text(FILE))
    untouched = run("--config-file a.toml")
    assert (untouched.source.name, untouched.name, untouched.host) == ("a.toml", "from-file", "gpu1")
    config = run(
        "--config-file a.toml --name other --host gpu2 --port 8200 --registry-url http://localhost:19000 "
        '--args "-m other" --env B=3 --max-restarts 7 --work-dir /else'
    )
    assert (config.name, config.host, config.port) == ("other", "gpu2", 8200)
    assert config.registry_urls == ("http://localhost:19000",)
    assert config.argv == ["python3", "-m", "other"]
    assert (config.env, config.work_dir) == ({"A": "1", "B": "3"}, "/else")
    assert (config.max_restarts, config.restart_delay) == (7, 1)
    assert config.metadata == {"cache_type": "paged"}


def test_a_host_of_the_environment_is_for_a_file_and_gives_way_to_a_flag(run, tmp_path):
    (tmp_path / "a.toml").write_text(toml_text(FILE))
    assert run("--config-file a.toml --name n", BABYSITTER_HOST="gpu7").host == "gpu7"
    assert run("--config-file a.toml --name n --host gpu8", BABYSITTER_HOST="gpu7").host == "gpu8"


def test_another_type_of_service_keeps_the_directory_and_the_variables():
    backend = merged_document(BabysitterFlags(service_type="mock", args="m"), FILE)["backend"]
    assert backend == {"type": "mock", "models": ["m"], "work_dir": "/srv", "env": {"A": "1", "B": "2"}}
    backend = merged_document(BabysitterFlags(command="serve"), FILE | {"backend": {"type": "vllm", "model": "m"}})
    assert backend["backend"] == {"type": "command", "command": "serve"}


def test_a_missing_or_wrong_flag_is_named():
    assert refused(BabysitterFlags(command="x")).startswith("--port: missing")
    assert refused(BabysitterFlags(port=1)).startswith("--command: missing")
    assert refused(BabysitterFlags(port=1, service_type="vLLM")).startswith("--path: missing")
    assert refused(BabysitterFlags(port=1, service_type="tgi")).startswith("--service-type: there is no type 'tgi'")
    assert refused(BabysitterFlags(port=1, command="x", env=("A",))).startswith("--env: 'A' is no NAME=VALUE")


def test_problems_name_the_users_file_and_not_a_temporary_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text("nmae = 'x'\nport = 8100\n[backend]\ntype = 'none'\n")
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(
            infini_babysitter.command, ["--config-file", "a.toml", "--name", "x"], catch_exceptions=False
        )
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["a.toml", "nmae"],
        ["a.toml", "backend.type"],
    ]
    with pytest.raises(ConfigError, match=r"^b\.toml: no such file"):
        CliRunner().invoke(
            infini_babysitter.command, ["--config-file", "b.toml", "--name", "x"], catch_exceptions=False
        )
