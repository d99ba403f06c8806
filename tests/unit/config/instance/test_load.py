"""Every problem of every file, each as `FILE: key: what is wrong; what to do`."""

import re

import pytest

from svc.base.errors import ConfigError
from svc.config.instance.load import load, load_one
from svc.config.instance.model import CommandBackend, InfinilmBackend, MockBackend
from svc.config.instance.unusual_values import unusual_values
from svc.config.settings_file import load_settings

GOOD = 'name = "a"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\n'


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Files are named as a user in that directory would."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(text, name="a.toml"):
        path = (tmp_path / name).relative_to(tmp_path)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems_of(*paths, **environ):
    """Return the problems of the files."""
    with pytest.raises(ConfigError) as caught:
        load(paths, load_settings(environ=environ))
    return list(caught.value.problems)


def backend(lines, kind="command"):
    return f'port = 8100\n[backend]\ntype = "{kind}"\n{lines}\n'


def test_a_minimal_file_gets_the_defaults(write):
    config = load_one(write('port = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]'), load_settings())
    assert (config.name, config.host, config.url) == ("mock-8100", "localhost", "http://localhost:8100")
    assert (config.babysitter_port, config.bind_host) == (8101, "127.0.0.1")
    assert (config.max_restarts, config.restart_delay, config.heartbeat_interval) == (10000, 5, 30)
    assert (config.probe, config.startup_timeout, config.max_memory) == ("models", 0, 0)
    assert (config.probe_interval, config.probe_timeout, config.probe_threshold) == (30, 30, 3)
    assert (config.registry_urls, config.router_url, config.token_file) == (("http://localhost:18000",), "", "")
    assert (config.metadata, config.env, config.work_dir) == ({}, {}, "")
    assert config.backend == MockBackend(models=("m",))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('api_key_variable = "K"', "backend.api_key_variable: has no key to hold; name the key's file, too"),
        ('api_key_file = ""', "backend.api_key_file: must not be empty"),
        ('api_key_file = "f"\napi_key_variable = "A B"', "backend.api_key_variable: 'A B' is no variable's name"),
        ('api_key_file = "f"\napi_key_variable = "SVC_PATH"', "backend.api_key_variable: is set by svc itself"),
        (
            'api_key_file = "f"\nenv = { VLLM_API_KEY = "secret" }',
            "backend.env.VLLM_API_KEY: is set from api_key_file; take it out of env",
        ),
    ],
)
def test_settings_of_an_api_key_must_fit_together(write, lines, problem):
    (line,) = problems_of(write(backend(f'model = "m"\n{lines}', "vllm")))
    assert line.startswith(f"a.toml: {problem}")


@pytest.mark.parametrize(
    ("kind", "lines", "variable"),
    [
        ("vllm", 'model = "m"\napi_key_file = "f"', "VLLM_API_KEY"),
        ("vllm", 'model = "m"', ""),
        ("command", 'command = "c"\napi_key_file = "f"', ""),
        ("command", 'command = "c"\napi_key_file = "f"\napi_key_variable = "LLAMA_API_KEY"', "LLAMA_API_KEY"),
    ],
)
def test_the_variable_in_which_an_engine_gets_its_api_key(write, kind, lines, variable):
    assert load_one(write(backend(lines, kind)), load_settings()).api_key_variable == variable


def test_a_file_with_every_key(write):
    config = load_one(
        write("""
name = "qwen"
host = "gpu1"
port = 8100
registry_url = ["http://r1:18000/", "https://r2"]
router_url = "http://r1:8000"
token_file = "/etc/token"
[babysitter]
max_restarts = 3
restart_delay = 0.5
heartbeat_interval = 10
probe = "generate"
probe_interval = 60
probe_timeout = 0.5
probe_threshold = 2
startup_timeout = 600
max_memory = "1.5GiB"
[backend]
type = "command"
command = "python3 -m 'my server'"
args = ["--x", "a b"]
work_dir = "/srv"
env = { A = "1" }
[metadata]
cache_type = "paged"
deep = { list = [1, 2.5, true, "x"] }
"""),
        load_settings(),
    )
    assert config.registry_urls == ("http://r1:18000", "https://r2")
    assert (config.probe, config.probe_interval, config.probe_timeout, config.probe_threshold) == (
        "generate",
        60,
        0.5,
        2,
    )
    assert (config.startup_timeout, config.max_memory) == (600, 3 << 29)
    assert config.argv == ["python3", "-m", "my server", "--x", "a b"]
    assert (config.env, config.work_dir, config.bind_host) == ({"A": "1"}, "/srv", "0.0.0.0")
    assert config.metadata == {"cache_type": "paged", "deep": {"list": [1, 2.5, True, "x"]}}
    assert config.backend == CommandBackend(
        command=("python3", "-m", "my server"), args=("--x", "a b"), work_dir="/srv", env={"A": "1"}
    )


def test_settings_win_over_the_file(write):
    environ = {"BABYSITTER_HOST": "gpu7", "REGISTRY_URL": "http://r9:1", "ROUTER_URL": "http://r9:2"}
    config = load_one(write('host = "0.0.0.0"\n' + GOOD), load_settings(environ=environ))
    assert (config.host, config.registry_urls, config.router_url) == ("gpu7", ("http://r9:1",), "http://r9:2")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_a_wildcard_address_as_host_is_a_warning(write, host):
    config = load_one(write(f'host = "{host}"\nregistry_url = "http://r1:18000"\n{GOOD}'), load_settings())
    assert config.bind_host == config.host == host.strip("[]")
    (line,) = unusual_values(config)
    assert line.startswith(f"a.toml: host: '{config.host}' is for listening: ")
    assert "BABYSITTER_HOST" in line
    assert list(unusual_values(load_one(write(GOOD), load_settings()))) == []


@pytest.mark.parametrize(
    ("lines", "environ", "registry", "router"),
    [
        (
            'registry_url = "http://localhost:18000"\nrouter_url = "http://127.0.0.1:8000/"',
            {"REGISTRY_PORT": "19000", "ROUTER_PORT": "9000"},
            "http://localhost:19000",
            "http://localhost:9000",
        ),
        ('registry_url = "http://localhost:18000"', {}, "http://localhost:18000", ""),
        ('registry_url = "http://127.0.0.1:18000"', {}, "http://127.0.0.1:18000", ""),
        ('registry_url = "http://localhost:18001"', {"REGISTRY_PORT": "19000"}, "http://localhost:18001", ""),
        ('registry_url = ["http://localhost:18000"]', {"REGISTRY_PORT": "19000"}, "http://localhost:18000", ""),
        (
            'registry_url = "http://localhost:18000"\nrouter_url = "http://localhost:8000"',
            {"REGISTRY_PORT": "19000", "ROUTER_PORT": "9000", "LAUNCH_COMPONENTS": "babysitter"},
            "http://localhost:18000",
            "http://localhost:8000",
        ),
        (
            'registry_url = "http://localhost:18000"\nhost = "gpu1"',
            {
                "BABYSITTER_REGISTRY_URL": "http://r1:1",
                "BABYSITTER_ROUTER_URL": "http://r1:2",
                "REGISTRY_URL": "http://r2:1",
            },
            "http://r1:1",
            "http://r1:2",
        ),
        ('registry_url = "http://localhost:99999999"', {"REGISTRY_PORT": "19000"}, "", ""),
    ],
)
def test_which_registry_and_router_an_instance_has(write, lines, environ, registry, router):
    path = write(f"{lines}\n{GOOD}")
    if not registry:
        assert "registry_url: 'http://localhost:99999999' is no URL" in problems_of(path, **environ)[0]
        return
    config = load_one(path, load_settings(environ=environ))
    assert (config.registry_urls, config.router_url) == ((registry,), router)


@pytest.mark.parametrize("written", ['["http://a:1", "http://b:2/"]', '"http://a:1, http://b:2"'])
def test_several_registries_are_a_list_or_a_text_with_commas(write, written):
    config = load_one(write(f'host = "gpu1"\nregistry_url = {written}\n{GOOD}'), load_settings())
    assert (config.registry_urls, config.registry_setting) == (("http://a:1", "http://b:2"), "")


def test_a_setting_of_several_registries_replaces_those_of_the_file(write):
    path = write(f'host = "gpu1"\nregistry_url = "http://own:1"\n{GOOD}')
    config = load_one(path, load_settings(environ={"REGISTRY_URL": "http://a:1,http://b:2"}))
    assert config.registry_urls == ("http://a:1", "http://b:2")
    assert (config.registry_setting, config.unused_registry_urls) == ("registry_url", ("http://own:1",))


def test_a_file_without_a_registry_uses_the_registry_of_the_site(write):
    config = load_one(write(GOOD), load_settings(environ={"REGISTRY_PORT": "19000"}))
    assert config.registry_urls == ("http://localhost:19000",)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("port = true", "port: must be a whole number, not true; write it without quotes or a point"),
        ("port = 8100.0", "port: must be a whole number, not 8100.0; write it without quotes or a point"),
        ('port = "8100"', "port: must be a whole number, not '8100'; write it without quotes or a point"),
        ("port = 0", "port: must be between 1 and 65534, not 0; change it"),
        ("port = 65535", "port: must be between 1 and 65534, not 65535; change it"),
        ("", "port: missing; give the instance's port, such as port = 8100"),
        ("port = 1\nname = 5", "name: must be text, not 5; put it in quotes"),
        ('port = 1\nname = "-a"', "name: '-a' is no name; use letters, digits, and _ . - after the first"),
        ('port = 1\nname = "a b"', "name: 'a b' is no name"),
        ('port = 1\nname = "a\\n"', "is no name"),
        ('port = 1\nname = ""', "name: '' is no name"),
        ('port = 1\nname = "router"', "name: 'router' is reserved; choose another"),
        ('port = 1\nname = "registry"', "name: 'registry' is reserved"),
        ('port = 1\nname = "svc"', "name: 'svc' is reserved"),
        (f'port = 1\nname = "{"x" * 129}"', "name: has 129 characters; use at most 128"),
        ('port = 1\nhost = "*"', "host: '\\*' is no address that others can reach; .* BABYSITTER_HOST"),
        ('port = 1\nhost = "h:80"', "host: 'h:80' is no host; give a name or an address"),
        ('port = 1\nhost = "fe80::1%eth0"', "is no host; give a name or an address, without port, zone or http://"),
        ('port = 1\nhost = "[::1"', "is no host"),
        ('port = 1\nhost = "http://h"', "is no host"),
        ('port = 1\nhost = ""', "host: '' is no host"),
        ('port = 1\nregistry_url = "r:18000"', "registry_url: 'r:18000' is no URL; write it like http://host:18000"),
        ('port = 1\nregistry_url = "http://r:99999"', "registry_url: 'http://r:99999' is no URL"),
        ('port = 1\nregistry_url = "http://"', "registry_url: 'http://' is no URL"),
        ('port = 1\nregistry_url = "http://a b"', "registry_url: 'http://a b' is no URL"),
        ('port = 1\nregistry_url = ""', "registry_url: must not be empty"),
        ("port = 1\nregistry_url = []", "registry_url: must not be empty; give one URL or more"),
        ('port = 1\nregistry_url = ["http://localhost", 1]', r"registry_url\[1\]: must be text, not 1"),
        ('port = 1\nregistry_url = "http://u:p@r"', "registry_url: holds a password; .* token_file"),
        (
            'port = 1\nregistry_url = "http://far:18000"',
            "host: 'localhost' means this machine only, .* http://far:18000",
        ),
        (
            'port = 1\nhost = "127.0.0.1"\nregistry_url = ["http://localhost", "http://r2"]',
            "host: .* registry http://r2",
        ),
        ("port = 1\nrouter_url = 1", "router_url: must be text, not 1"),
        ('port = 1\ntoken_file = ""', "token_file: must not be empty"),
        ("port = 1\nmetadata = 1", r"metadata: must be a section, not 1; write \[metadata\]"),
        ("port = 1\nbabysitter = 1", r"babysitter: must be a section, not 1; write \[babysitter\]"),
        ("port = 1\nprot = 1", "prot: unknown key; did you mean port\\?"),
        ("port = 1\nmax_restarts = 1", r"max_restarts: unknown key; it belongs in \[babysitter\]"),
        ("port = 1\nzzz = 1", "zzz: unknown key; there are name, host, port"),
    ],
)
def test_errors_at_the_top(write, lines, line):
    (problem,) = problems_of(write(f'{lines}\n[backend]\ntype = "mock"\nmodels = ["m"]\n'))
    assert re.match(f"a.toml: {line}" if ": " in line else f"a.toml: .*{line}", problem), problem


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("max_restarts = -1", "max_restarts: must be between 0 and 1000000000, not -1"),
        ("max_restarts = true", "max_restarts: must be a whole number, not true"),
        ("max_restarts = 1.0", "max_restarts: must be a whole number, not 1.0"),
        ("restart_delay = -0.1", "restart_delay: must be between 0 and 86400, not -0.1"),
        ("restart_delay = nan", "restart_delay: must be a number, not nan"),
        ("restart_delay = inf", "restart_delay: must be between 0 and 86400, not inf"),
        (f"restart_delay = 1{'0' * 400}", "restart_delay: must be between 0 and 86400, not 1000"),
        ('restart_delay = "5"', "restart_delay: must be a number, not '5'; write seconds, without quotes"),
        ("restart_delay = false", "restart_delay: must be a number, not false"),
        ("heartbeat_interval = 0", "heartbeat_interval: must be between 0.1 and 3600, not 0"),
        ("restart_dealy = 1", "restart_dealy: unknown key; did you mean restart_delay"),
        ("port = 1", "port: unknown key; it belongs at the top, before any section"),
        ('probe = "tokens"', 'probe: must be "models" or "generate", not \'tokens\'; choose one'),
        ("probe = true", 'probe: must be "models" or "generate", not true; choose one'),
        ("probe_interval = 0", "probe_interval: must be between 0.1 and 86400, not 0; change it"),
        ("probe_threshold = 0", "probe_threshold: must be between 1 and 1000, not 0; change it"),
        ("probe_treshold = 2", "probe_treshold: unknown key; did you mean probe_threshold?"),
        ('startup_timeout = "10m"', "startup_timeout: must be a number, not '10m'; write seconds, without quotes"),
        ('max_memory = "24G"', "max_memory: '24G' is no size; write it like \"24GiB\", or as a whole number of bytes"),
        ("max_memory = 1e9", "max_memory: 1000000000.0 is no size; write it like"),
        ("max_memory = true", "max_memory: true is no size; write it like"),
        ("continuation_probe = 0", "continuation_probe: must be true or false, not 0; choose one"),
        ("max_memory = -1", "max_memory: -1 is less than any server needs; write it like"),
        ("max_memory = 24", 'max_memory: 24 is less than any server needs; write it like "24GiB", or 0 for no limit'),
    ],
)
def test_errors_in_the_babysitter_section(write, lines, line):
    (problem,) = problems_of(write(f"{GOOD}[babysitter]\n{lines}\n"))
    assert problem.startswith(f"a.toml: babysitter.{line}"), problem


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("port = 1", ["backend: missing; give [backend] a type, one of command, vllm, mock, infinilm, infinilm-rust"]),
        ("port = 1\n[backend]", ["backend.type: missing; give [backend] a type"]),
        ("port = 1\nbackend = 5", ["backend: must be a section, not 5", "backend.type: missing"]),
        ('port = 1\n[backend]\ntype = "vlm"', ["backend.type: there is no type 'vlm'; did you mean vllm?"]),
        ("port = 1\n[backend]\ntype = []", ["backend.type: there is no type []; choose one of command"]),
        (
            backend('command = "a"\nwrok_dir = "/x"\nargs = 1', "comand"),
            [
                "backend.type: there is no type 'comand'; did you mean command?",
                "backend.wrok_dir: unknown key; did you mean work_dir?",
                "backend.args: must be a list, not 1",
            ],
        ),
        (
            'port = 1\n[backend]\nmodel = ""\nmodle = "m"',
            [
                "backend.type: missing; give [backend] a type",
                "backend.modle: unknown key; did you mean model?",
                "backend.model: must not be empty",
            ],
        ),
        (backend(""), ["backend.command: missing; give the program to run"]),
        (backend("command = 1"), ["backend.command: must be text, not 1"]),
        (backend('command = " "'), ["backend.command: must not be empty"]),
        (backend("command = \"''\""), ["backend.command: names no program"]),
        (backend('command = "a \'b"'), ["backend.command: no closing quotation; check its quotes"]),
        (backend('command = "a"\nargs = "b"'), ["backend.args: must be a list, not 'b'; put it in [ ]"]),
        (
            backend('command = "a"\nargs = ["x", 8100, true, "\\u0000"]'),
            [
                "backend.args[1]: must be text, not 8100; put it in quotes",
                "backend.args[2]: must be text, not true",
                "backend.args[3]: has a NUL character",
            ],
        ),
        (backend('command = "a"\nargs = ["a\\rb"]'), ["backend.args[0]: has a carriage return"]),
        (backend('command = "a"\nwork_dir = "~/x"'), ["backend.work_dir: '~/x': nothing expands the ~ here"]),
        (backend('command = "a"\nwork_dir = 1'), ["backend.work_dir: must be text, not 1"]),
        (backend('command = "a"\nenv = ["A=1"]'), ["backend.env: must be a table, not ['A=1']"]),
        (
            backend('command = "a"\nenv = { A = 1, "B=C" = "x", "" = "y", D = "\\u0000" }'),
            [
                "backend.env.A: must be text, not 1; put it in quotes",
                "backend.env.B=C: 'B=C' is no variable's name",
                "backend.env.: '' is no variable's name",
                "backend.env.D: has a NUL character",
            ],
        ),
        (
            backend('command = "a"\nenv = { SVC_MAX_RESTARTS = "1" }'),
            ["backend.env.SVC_MAX_RESTARTS: is set by svc itself; use [babysitter] max_restarts"],
        ),
        (backend('command = "a"\nmodel = "m"'), ["backend.model: unknown key; "]),
        (backend('command = "a"\ncomand = "b"'), ["backend.comand: unknown key; did you mean command?"]),
        (backend("", "mock"), ['backend.models: missing; name its models, such as models = ["demo"]']),
        (backend("models = []", "mock"), ["backend.models: must not be empty"]),
        (backend('models = ["a,b", ""]', "mock"), ["backend.models[0]: a mock's model", "backend.models[1]"]),
        (backend("", "vllm"), ["backend.model: missing; give the model's name or path"]),
        (backend("", "infinilm"), ["backend.model_path: missing; give the path of the model"]),
        (backend("", "infinilm-rust"), ["backend.config_file: missing; give the path of the model's TOML for xtask"]),
        (backend('config_file = "f"\nargs = []', "infinilm-rust"), ["backend.args: unknown key; there are "]),
        (backend('model = "<fill in: the model>"', "vllm"), ["backend.model: not filled in yet; fill in the model"]),
    ],
)
def test_errors_in_the_backend_section(write, text, lines):
    problems = problems_of(write(text))
    assert len(problems) == len(lines), problems
    for problem, line in zip(problems, lines, strict=True):
        assert problem.startswith(f"a.toml: {line}")


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("since = 2024-01-01", "since: 2024-01-01 cannot be written as JSON; make it text"),
        ("deep = { at = 12:00:00 }", "deep: {'at': datetime.time(12, 0)} cannot be written as JSON"),
        ("x = nan", "x: nan cannot be written as JSON"),
        ('type = "x"', "type: is set by the babysitter itself; choose another key"),
        ("models = []", 'models: must be a list of names, not []; write it like ["whisper-1"]'),
        ('models = "whisper-1"', "models: must be a list of names, not 'whisper-1'"),
        ("models = [1]", "models: must be text, not 1; put it in quotes"),
        ('models = [""]', "models: must not be empty"),
        ('models = ["a", "b", "a"]', "models: names 'a' twice; name it once"),
        ("models_list = []", "models_list: is set by the babysitter itself"),
        ('cache_type = "pages"', 'cache_type: must be "paged" or "static", not \'pages\'; choose one'),
        ("max_concurrency = -1", 'max_concurrency: must be a number of requests or "auto", not -1; 0: unlimited'),
        ('max_concurrency = "8"', "max_concurrency: must be a number of requests or \"auto\", not '8'"),
        ("cache_type = []", 'cache_type: must be "paged" or "static", not []'),
        ("continues = 1", "continues: must be true or false, not 1"),
        ("continues_messages = 1", "continues_messages: must be true or false, not 1"),
        ('static = "yes"', "static: must be true or false, not 'yes'"),
    ],
)
def test_errors_in_the_metadata(write, lines, line):
    (problem,) = problems_of(write(f"{GOOD}[metadata]\n{lines}\n"))
    assert problem.startswith(f"a.toml: metadata.{line}")


@pytest.mark.parametrize(
    ("line", "path", "endpoint"),
    [("", None, "/health"), ('health_path = ""', "", ""), ('health_path = "/ping?a=1"', "/ping?a=1", "/ping?a=1")],
)
def test_the_path_of_an_engines_health_check(write, line, path, endpoint):
    config = load_one(write(f"{GOOD}[babysitter]\n{line}\n"), load_settings())
    assert (config.health_path, config.health_endpoint) == (path, endpoint)


@pytest.mark.parametrize(
    ("host", "address", "url", "bind_host"),
    [
        ("::1", "::1", "http://[::1]:8100", "::1"),
        ("[::1]", "::1", "http://[::1]:8100", "::1"),
        ("ip6-localhost", "ip6-localhost", "http://ip6-localhost:8100", "::1"),
        ("FD00:0:0::7", "fd00::7", "http://[fd00::7]:8100", "::"),
    ],
)
def test_an_ipv6_host_is_in_brackets_only_in_the_url(write, host, address, url, bind_host):
    config = load_one(write(f'host = "{host}"\n{GOOD}'), load_settings())
    assert (config.host, config.url, config.bind_host) == (address, url, bind_host)


@pytest.mark.parametrize("path", ['"health"', '"http://h/health"', '"/a b"', '"/a#b"', "true"])
def test_a_health_path_that_is_no_path_is_refused(write, path):
    (problem,) = problems_of(write(f"{GOOD}[babysitter]\nhealth_path = {path}\n"))
    assert problem.startswith("a.toml: babysitter.health_path: ")


def test_models_in_the_metadata_are_the_instances_models(write):
    config = load_one(write(f'{GOOD}[metadata]\nmodels = ["whisper-1", "large"]\n'), load_settings())
    assert config.models == ("whisper-1", "large")


def test_large_metadata_is_refused(write):
    (problem,) = problems_of(write(f'{GOOD}[metadata]\nx = "{"x" * 17000}"\n'))
    assert problem == "a.toml: metadata: is 17009 bytes as JSON; keep it under 16384"


def test_every_problem_of_every_file_is_reported_at_once(write):
    problems = problems_of(
        write("port = true\nname = 1\nhots = 'x'\n[babysitter]\nmax_restarts = -1\n[backend]\ntype = 'mock'\n"),
        write("port = [", "b.toml"),
        write("name = 'c'\n", "c.toml"),
        write("", "missing.toml").with_name("not-there.toml"),
    )
    assert [": ".join(p.split(": ")[:2]) for p in problems] == [
        "a.toml: hots",
        "a.toml: name",
        "a.toml: port",
        "a.toml: babysitter.max_restarts",
        "a.toml: backend.models",
        "b.toml: not TOML",
        "c.toml: port",
        "c.toml: backend",
        "not-there.toml: no such file; check the path",
    ]


def test_files_that_cannot_be_read_are_reported(write, tmp_path):
    assert re.match(r"a.toml: not TOML: .*line 2", problems_of(write('port = 1\nname = "\n'))[0])
    assert problems_of(write(b"port = 1\n# caf\xe9\n"))[0] == "a.toml: line 2 is not UTF-8; save the file as UTF-8"
    (tmp_path / "d.toml").mkdir()
    assert problems_of(tmp_path / "d.toml")[0].endswith(
        "d.toml: cannot read it: Is a directory; check the path and its permissions"
    )


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(write):
    assert load_one(write(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()), load_settings()).name == "a"


def test_a_file_given_twice_is_one_file(write):
    path = write(GOOD)
    assert len(load([path, path.absolute()], load_settings())) == 1


def test_the_launch_script_is_searched_from_work_dir(write, tmp_path):
    text = backend('model_path = "/m"\nwork_dir = "lm"', "infinilm")
    (problem,) = problems_of(write(text))
    assert problem.startswith("a.toml: backend.launch_script: missing, and lm has no launch_server.py or scripts/")
    (tmp_path / "lm" / "scripts").mkdir(parents=True)
    (tmp_path / "lm" / "scripts" / "launch_server.py").touch()
    config = load_one(write(text), load_settings())
    assert isinstance(config.backend, InfinilmBackend)
    assert config.argv[:2] == ["python3", "scripts/launch_server.py"]


def test_localhost_is_refused_for_a_registry_on_another_machine(write):
    (problem,) = problems_of(write(GOOD), REGISTRY_URL="http://far:1")
    assert "a.toml: host: 'localhost' means this machine only, but the registry http://far:1" in problem


@pytest.mark.parametrize(
    ("size", "expected"),
    [("24GiB", 24 << 30), ("24 GB", 24 * 10**9), ("512MiB", 512 << 20), ("0.5TiB", 1 << 39), (2**31, 2**31), (0, 0)],
)
def test_sizes_have_units_or_are_bytes(write, size, expected):
    shown = f'"{size}"' if isinstance(size, str) else size
    assert load_one(write(f"{GOOD}[babysitter]\nmax_memory = {shown}\n"), load_settings()).max_memory == expected


def test_a_registry_that_needs_loopback_tokens_needs_a_token_file(write):
    flags = {"registry": {"loopback_needs_token": True}}
    with pytest.raises(ConfigError, match=r"^a\.toml: token_file: missing; .*loopback_needs_token"):
        load([write(GOOD)], load_settings(flags=flags))
    elsewhere = 'host = "gpu7"\nregistry_url = "http://r:1"\n'
    assert load(
        [
            write(elsewhere + GOOD),
            write('token_file = "t"\n' + GOOD.replace("8100", "8200").replace('"a"', '"b"'), "b.toml"),
        ],
        load_settings(flags=flags),
    )


@pytest.mark.parametrize("host", ["http://gpu7", "gpu7:8101", "", 7])
def test_an_allowed_host_is_a_name_or_an_address(write, host):
    (problem,) = problems_of(write(f"{GOOD}[babysitter]\nallowed_hosts = [{host!r}]\n"))
    assert problem.startswith("a.toml: babysitter.allowed_hosts[0]: ")


def test_a_store_with_a_password_is_refused_without_showing_it():
    refused = load_settings(flags={"registry": {"store": "redis://ann:hunter2@here"}})
    with pytest.raises(ConfigError, match=r"\[registry\] store .*: has a password.*store_password_file") as caught:
        load([], refused)
    assert "hunter2" not in str(caught.value)
