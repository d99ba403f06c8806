"""Pairs of files: each render/X.toml and the render/X.conf that is made of it.

After an intended change: python -m tests.unit.render.test_supervisord_conf
"""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.config.instance.load import load
from svc.config.settings_file import load_settings
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import render
from tests.unit.render import supervisord

PAIRS = Path(__file__).parent / "expected"
TOMLS = sorted(PAIRS.glob("*.toml"))


def rendered(toml, **environ):
    settings = load_settings(environ={"LAUNCH_COMPONENTS": "babysitter", **environ})
    (config,) = load([toml], settings)
    return render([config], settings, RenderPaths.of(PAIRS, PAIRS / "conf.d"))[f"conf.d/{config.name}.conf"]


def texts(root, configs=(), flags=None, **environ):
    return render(configs, load_settings(environ=environ, flags=flags), RenderPaths.of(root))


@pytest.mark.parametrize("toml", TOMLS, ids=lambda path: path.stem)
def test_a_toml_renders_to_its_expected_file(toml):
    assert rendered(toml) == toml.with_suffix(".conf").read_text()


def test_the_babysitters_flags_carry_what_settings_override():
    text = rendered(PAIRS / "command.toml", BABYSITTER_HOST="gpu7", REGISTRY_URL="http://r:1/", ROUTER_URL="http://r:2")
    assert "--host gpu7 --registry-url http://r:1 --router-url http://r:2\n" in text


def test_registry_and_router_get_every_setting_as_a_flag(tmp_path):
    programs = supervisord.programs(tmp_path, texts(tmp_path, ROUTER_PORT="8001", REGISTRY_HEALTH_INTERVAL="2.5"))
    assert supervisord.arguments(programs["registry:registry"]) == [
        "svc",
        "launch",
        "--own",
        "--port",
        "18000",
        "--",
        "svc",
        "registry",
        "--host",
        "127.0.0.1",
        "--port",
        "18000",
        "--health-interval",
        "2.5",
        "--health-timeout",
        "5",
        "--cleanup-interval",
        "60",
        "--forget-after",
        "300",
        "--max-services",
        "10000",
        "--store",
        f"sqlite:{tmp_path}/conf.d/../var/registry.db",
    ]
    router = supervisord.arguments(programs["router:router"])
    assert router[:10] == ["svc", "launch", "--own", "--", "svc", "router", "--fd", "0", "--host", "127.0.0.1"]
    flags = {"--port": "8001", "--registry-url": "http://localhost:18000", "--proxy-timeout": "1800"}
    assert flags.items() <= dict(zip(router[8::2], router[9::2], strict=True)).items()


def test_only_a_configured_group_may_use_the_socket(tmp_path):
    assert "\nchmod=0700\n" in texts(tmp_path)["supervisord.conf"]
    assert "\nchmod=0770\n" in texts(tmp_path, flags={"systemd": {"group": "llm"}})["supervisord.conf"]


def test_text_and_boolean_settings_become_flags(tmp_path):
    flags = {"registry": {"insecure": True, "store": "sqlite:my db", "token_file": "/etc/a token"}}
    programs = supervisord.programs(tmp_path, texts(tmp_path, flags=flags))
    arguments = supervisord.arguments(programs["registry:registry"])
    assert "--insecure" in arguments
    assert arguments[arguments.index("--store") + 1] == "sqlite:my db"
    assert arguments[arguments.index("--token-file") + 1] == "/etc/a token"


def test_no_file_holds_a_password(tmp_path):
    file = {"store": "redis://ann@here:6379/0?prefix=a", "store_password_file": "/etc/redis password"}
    arguments = supervisord.arguments(
        supervisord.programs(tmp_path, texts(tmp_path, flags={"registry": file}))["registry:registry"]
    )
    assert arguments[arguments.index("--store-password-file") + 1] == "/etc/redis password"
    for scheme in ("redis", "rediss", "unix"):
        with pytest.raises(ConfigError, match="store_password_file"):
            texts(tmp_path, flags={"registry": {"store": f"{scheme}://ann:secret@here"}})


def test_tables_of_names_become_repeated_flags(tmp_path):
    flags = {"router": {"aliases": ("gpt-4o=my model", "50%=a=b"), "policies": ("m=session",), "keys_file": "var/k"}}
    arguments = supervisord.arguments(supervisord.programs(tmp_path, texts(tmp_path, flags=flags))["router:router"])
    flag_values = {
        name: [arguments[n + 1] for n, word in enumerate(arguments) if word == name]
        for name in arguments
        if name[:2] == "--"
    }
    assert flag_values["--aliases"] == ["50%=a=b", "gpt-4o=my model"]
    assert (flag_values["--policies"], flag_values["--keys-file"]) == (["m=session"], ["var/k"])
    assert "--fallbacks" not in flag_values
    again = load_settings(flags={"router": {"aliases": tuple(flag_values["--aliases"])}})
    assert again.router.aliases == load_settings(flags=flags).router.aliases


def test_a_list_of_texts_becomes_one_flag(tmp_path):
    flags = {"router": {"allow_paths": ["/v1/files*", "GET /a%20b"]}}
    arguments = supervisord.arguments(supervisord.programs(tmp_path, texts(tmp_path, flags=flags))["router:router"])
    paths = arguments[arguments.index("--allow-paths") + 1]
    assert load_settings(flags={"router": {"allow_paths": paths}}).router.allow_paths == ("/v1/files*", "GET /a%20b")
    assert "--allow-paths" not in supervisord.arguments(
        supervisord.programs(tmp_path, texts(tmp_path))["router:router"]
    )


def test_supervisord_reads_the_rendered_values(tmp_path):
    config = load([PAIRS / "mock.toml"], load_settings())[0]
    programs = supervisord.programs(tmp_path, texts(tmp_path, [config]))
    assert sorted(programs) == ["mock-8100:babysitter", "mock-8100:server", "registry:registry", "router:router"]
    for program in programs.values():
        assert program.environment.keys() == {"SVC_MAX_RESTARTS", "SVC_RESTART_DELAY"}
        assert (program.autorestart, program.startsecs, program.startretries) == (False, 1, 10**9)
        assert (program.stopasgroup, program.killasgroup, program.redirect_stderr) == (False, True, True)
        assert program.directory == f"{tmp_path}/conf.d/.."
    logs = {Path(program.stdout_logfile).name for program in programs.values()}
    assert logs == {"registry_18000.log", "router_8000.log", "server_mock-8100.log", "babysitter_mock-8100.log"}
    assert programs["router:router"].stopwaitsecs == 35


@pytest.mark.parametrize(("host", "address"), [("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("lan", "lan")])
def test_the_address_of_the_routers_socket(tmp_path, host, address):
    assert f"socket=tcp://{address}:8000\n" in texts(tmp_path, ROUTER_HOST=host)["conf.d/router.conf"]


@pytest.mark.parametrize("host", ["fe80::1", "a b", "x\n[program:x]", "%d"])
def test_the_routers_socket_is_ipv4_or_a_name(tmp_path, host):
    with pytest.raises(ConfigError, match="router: host: .* is nothing to listen on"):
        texts(tmp_path, ROUTER_HOST=host)


def test_a_setting_that_a_flag_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--token-file: has a carriage return"):
        texts(tmp_path, REGISTRY_TOKEN_FILE="a\rb")


def test_only_the_components_of_this_site_are_rendered(tmp_path):
    assert sorted(texts(tmp_path, LAUNCH_COMPONENTS="router")) == ["conf.d/router.conf", "supervisord.conf"]


def test_no_file_names_the_machine_that_rendered_it(tmp_path):
    root = tmp_path / "made here"
    config = load([PAIRS / "mock.toml"], load_settings())[0]
    assert not [text for text in texts(PAIRS.parent, [config]).values() if str(PAIRS.parent) in text]
    assert texts(root) == texts(tmp_path / "elsewhere")


def test_the_files_in_var_name_the_same_paths(tmp_path):
    settings = load_settings()
    own = render([], settings, RenderPaths.of(tmp_path, tmp_path / "var" / "conf.d"))
    assert "logfile=%(here)s/../logs/supervisord.log" in own["supervisord.conf"]
    assert "file=%(here)s/supervisor.sock" in own["supervisord.conf"]
    assert "directory=%(here)s/../..\n" in own["conf.d/registry.conf"]
    assert "sqlite:%(here)s/../registry.db" in own["conf.d/registry.conf"]


def test_files_of_svc_run_use_the_site_and_keep_state_elsewhere(tmp_path):
    config = load([PAIRS / "mock.toml"], load_settings())[0]
    state = tmp_path / "private"
    paths = RenderPaths(PAIRS.parent, state / "conf.d", state, logs_to_stdout=True)
    programs = supervisord.programs(state, render([config], load_settings(), paths))
    server = programs["mock-8100:server"]
    assert (server.directory, server.stdout_logfile, server.stdout_logfile_maxbytes) == (
        str(PAIRS.parent),
        "/dev/fd/1",
        0,
    )
    assert str(PAIRS / "mock.toml") in supervisord.arguments(programs["mock-8100:babysitter"])
    assert f"sqlite:{state}/conf.d/../var/registry.db" in supervisord.arguments(programs["registry:registry"])


def test_only_an_on_demand_instance_has_the_variables_of_one(tmp_path):
    variables = [line for line in rendered(PAIRS / "command.toml").splitlines() if "environment=" in line]
    assert not any(name in text for text in variables for name in ("SVC_GPU", "SVC_ON_DEMAND", "SVC_MIN_AWAKE"))
    toml = tmp_path / "a.toml"
    toml.write_text('name = "a"\nport = 8100\n[resources]\ngpus = [3]\n[backend]\ntype = "mock"\nmodels = ["m"]\n')
    assert 'SVC_RESTART_DELAY="5",SVC_GPUS="3"\n' in rendered(toml)  # always on, beside others on this GPU


def test_the_variables_of_an_instance_with_gpus_win_over_those_of_svc_launch(tmp_path):
    toml = tmp_path / "a.toml"
    text = (
        'name = "a"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\nenv = { CUDA_VISIBLE_DEVICES = "MIG-1" }\n'
    )
    toml.write_text(text)
    assert 'SVC_RESTART_DELAY="5",CUDA_VISIBLE_DEVICES="MIG-1"\n' in rendered(toml)
    toml.write_text(f"{text}[resources]\ngpus = [3]\n")
    assert 'SVC_GPUS="3",SVC_ENV_CUDA_VISIBLE_DEVICES="MIG-1"\n' in rendered(toml)


def test_the_extension_gets_only_settings_that_differ_from_its_own_defaults(tmp_path):
    assert "parallel_loads" not in texts(tmp_path)["supervisord.conf"]
    changed = texts(tmp_path, flags={"on_demand": {"parallel_loads": 3, "stay_factor": 0.5}})["supervisord.conf"]
    assert "svc.supervision.policy:make\nparallel_loads=3\nstay_factor=0.5\n\n[supervisorctl]" in changed


if __name__ == "__main__":
    for toml in TOMLS:
        toml.with_suffix(".conf").write_text(rendered(toml))
