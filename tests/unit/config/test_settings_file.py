"""Flag over environment over file over default; every problem at once."""

import re

import pytest

from svc.base.errors import ConfigError
from svc.config.settings_file import load_settings
from svc.settings import COMPONENTS


@pytest.fixture
def toml(tmp_path):
    return tmp_path / "svc.toml"


def wrong(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        load_settings(*args, **kwargs)
    return caught.value.problems


def test_defaults():
    settings = load_settings()
    assert (settings.registry.port, settings.router.port, settings.router.proxy_timeout) == (18000, 8000, 1800)
    assert (settings.registry.host, settings.router.host) == ("127.0.0.1", "127.0.0.1")
    assert settings.router.cache_type_threshold == 51200
    assert settings.registry_url() == settings.router_registry_url() == "http://localhost:18000"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(toml):
    toml.write_text("[router]\nport = 1\nhost = 'file'\npolicy = 'session'\n")
    settings = load_settings(toml, {"ROUTER_PORT": "2", "ROUTER_HOST": "env"}, {"router": {"port": 3}})
    assert (settings.router.port, settings.router.host, settings.router.policy) == (3, "env", "session")


def test_without_an_environment_no_variable_is_read(monkeypatch):
    monkeypatch.setenv("ROUTER_PORT", "9999")
    assert load_settings().router.port == 8000


@pytest.mark.parametrize(
    ("variable", "section", "field", "raw", "value"),
    [
        ("REGISTRY_PORT", "registry", "port", "18001", 18001),
        ("REGISTRY_HOST", "registry", "host", "0.0.0.0", "0.0.0.0"),
        ("REGISTRY_TOKEN_FILE", "registry", "token_file", "/t", "/t"),
        ("REGISTRY_READ_TOKEN_FILE", "registry", "read_token_file", "/t", "/t"),
        ("REGISTRY_HEALTH_INTERVAL", "registry", "health_interval", "1.5", 1.5),
        ("REGISTRY_HEALTH_TIMEOUT", "registry", "health_timeout", "2", 2),
        ("REGISTRY_CLEANUP_INTERVAL", "registry", "cleanup_interval", "2", 2),
        ("ROUTER_PORT", "router", "port", "8001", 8001),
        ("ROUTER_HOST", "router", "host", "0.0.0.0", "0.0.0.0"),
        ("ROUTER_REGISTRY_URL", "router", "registry_url", "http://r:1", "http://r:1"),
        ("ROUTER_HEALTH_INTERVAL", "router", "health_interval", "2", 2),
        ("ROUTER_HEALTH_TIMEOUT", "router", "health_timeout", "2", 2),
        ("ROUTER_REGISTRY_SYNC_INTERVAL", "router", "registry_sync_interval", "2", 2),
        ("PROXY_TIMEOUT_SECONDS", "router", "proxy_timeout", "2", 2),
        ("CACHE_TYPE_ROUTING_THRESHOLD", "router", "cache_type_threshold", "2", 2),
        ("LAUNCH_COMPONENTS", "launch", "components", "router", "router"),
        ("REGISTRY_URL", "launch", "registry_url", "http://r:1", "http://r:1"),
        ("ROUTER_URL", "launch", "router_url", "http://r:1", "http://r:1"),
        ("BABYSITTER_HOST", "launch", "babysitter_host", "h", "h"),
        ("BABYSITTER_CONFIGS", "launch", "babysitter_configs", "a b", "a b"),
    ],
)
def test_every_environment_variable_sets_its_setting(variable, section, field, raw, value):
    assert getattr(getattr(load_settings(environ={variable: raw}), section), field) == value


def test_an_empty_variable_is_ignored():
    assert load_settings(environ={"ROUTER_PORT": ""}).router.port == 8000


def test_every_problem_is_reported_at_once_with_its_source(toml):
    toml.write_text("[router]\nport = true\npotr = 1\n[registry]\nhealth_interval = 0\n[other]\n")
    problems = wrong(toml, {"REGISTRY_PORT": "x", "ROUTER_HEALTH_TIMEOUT": "-1"})
    text = "\n".join(problems)
    assert len(problems) == 6
    assert f"{toml}: [router] port: must be a number, not True" in problems
    assert "REGISTRY_PORT: must be a whole number, not 'x'" in problems
    for part in ("unknown section [other]", "potr: unknown key", "health_interval: must be at least", "ROUTER_HEALTH"):
        assert part in text


@pytest.mark.parametrize("port", ["0", "65536", "1.5", "nan", "inf", "1e3", ""])
def test_a_value_that_is_no_port_is_refused(toml, port):
    toml.write_text(f"[router]\nport = {port or '[]'}\n")
    if port == "1e3":  # TOML's 1000.0 is a whole number
        assert load_settings(toml).router.port == 1000
    else:
        assert "router] port" in wrong(toml)[0]


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "abc"])
def test_an_interval_that_is_not_finite_is_refused(seconds):
    assert "ROUTER_HEALTH_INTERVAL" in wrong(environ={"ROUTER_HEALTH_INTERVAL": seconds})[0]


def test_a_file_that_is_not_toml_is_reported(toml):
    toml.write_text("[router\n")
    assert str(toml) in wrong(toml)[0]
    toml.write_text("router = 1\n")
    assert "[router]" in wrong(toml)[0]
    toml.write_bytes(b"\xff\n")
    assert str(toml) in wrong(toml)[0]


def test_components_are_all_or_some():
    assert load_settings().launch.runs("router")
    settings = load_settings(environ={"LAUNCH_COMPONENTS": "registry,router"})
    assert settings.launch.runs("registry")
    assert not settings.launch.runs("babysitter")
    assert "'routre'" in wrong(environ={"LAUNCH_COMPONENTS": "routre"})[0]


@pytest.mark.parametrize(
    ("environ", "components"),
    [
        ({"LAUNCH_COMPONENTS": "None"}, "none"),
        ({"LAUNCH_COMPONENTS": " "}, "none"),
        ({"LAUNCH_COMPONENTS": ""}, "all"),
        ({"LAUNCH_COMPONENTS": " Babysitter , REGISTRY,"}, "registry,babysitter"),
        ({"LAUNCH_COMPONENTS": "router,none"}, "router"),
        ({"LAUNCH_COMPONENTS": "ALL"}, "all"),
        ({"LAUNCH_REGISTRY": "false"}, "router,babysitter"),
        ({"LAUNCH_REGISTRY": "true"}, "registry,router,babysitter"),
        ({"LAUNCH_REGISTRY": "false", "LAUNCH_ROUTER": "no", "LAUNCH_BABYSITTER": "0"}, "none"),
        ({"LAUNCH_REGISTRY": "false", "LAUNCH_COMPONENTS": "registry"}, "registry"),
    ],
)
def test_components_in_every_form_of_the_original(environ, components):
    assert load_settings(environ=environ).launch.components == components


def test_components_of_the_environment_win_over_the_file(toml):
    toml.write_text('[launch]\ncomponents = "router"\n')
    assert load_settings(toml).launch.components == "router"
    assert load_settings(toml, {"LAUNCH_ROUTER": "false"}).launch.components == "registry,babysitter"
    assert not any(load_settings(toml, {"LAUNCH_COMPONENTS": "none"}).launch.runs(name) for name in COMPONENTS)


def test_an_unknown_choice_is_refused():
    assert "must be one of auto," in wrong(flags={"router": {"policy": "best"}})[0]


@pytest.mark.parametrize(("written", "status"), [("404", "404"), ('"404"', "404"), ('"auto"', "auto")])
def test_a_choice_may_be_written_as_a_number(toml, written, status):
    toml.write_text(f"[router]\nunknown_model_status = {written}\n")
    assert load_settings(toml).router.unknown_model_status == status


def test_a_number_that_is_no_choice_is_refused(toml):
    toml.write_text("[router]\nunknown_model_status = 500\n")
    assert "unknown_model_status: must be one of auto, 503, 404, not '500'" in wrong(toml)[0]


def test_the_url_of_a_registry_on_another_host():
    settings = load_settings(environ={"REGISTRY_URL": "http://r:1", "REGISTRY_PORT": "5"})
    assert settings.registry_url() == settings.router_registry_url() == "http://r:1"
    assert load_settings(environ={"REGISTRY_PORT": "5"}).registry_url() == "http://localhost:5"


@pytest.mark.parametrize("section", ["launch", "router"])
@pytest.mark.parametrize("written", ["['http://a:1', 'http://b:2/']", "'http://a:1, http://b:2'"])
def test_several_registries_are_a_list_or_a_text_with_commas(toml, section, written):
    toml.write_text(f"[{section}]\nregistry_url = {written}\n")
    assert getattr(load_settings(toml), section).registry_url == "http://a:1,http://b:2"
    flags = {section: {"registry_url": "http://c:3 ,http://d:4"}}
    assert getattr(load_settings(toml, flags=flags), section).registry_url == "http://c:3,http://d:4"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", "must not be empty"),
        ("5", "must be a URL or a list of URLs, not 5"),
        ("['http://a:1', 5]", "must be a URL or a list of URLs"),
        ("['http://a:1', 'b:2']", "'b:2' is no URL; write it like http://host:18000"),
        ("'http://a:1,'", "must not be empty"),
        ("['http://a:1', 'http://u:p@b:2']", "holds a user or a password; .* token_file"),
    ],
)
def test_a_wrong_url_in_a_list_of_registries_is_reported_with_its_source(toml, written, problem):
    toml.write_text(f"[launch]\nregistry_url = {written}\n")
    [line] = wrong(toml)
    assert re.search(rf"svc\.toml: \[launch\] registry_url: {problem}", line)


def test_tables_of_names_are_read(toml):
    toml.write_text("[router.aliases]\n'gpt-4o' = 'qwen'\nmini = 'a=b'\n[router.policies]\nqwen = 'session'\n")
    settings = load_settings(toml).router
    assert settings.aliases == (("gpt-4o", "qwen"), ("mini", "a=b"))
    assert settings.policies == (("qwen", "session"),)
    assert settings.fallbacks == ()


def test_flags_of_names_replace_the_files_table(toml):
    toml.write_text("[router]\naliases = { a = 'b' }\nfallbacks = { c = 'd' }\n")
    settings = load_settings(toml, flags={"router": {"aliases": ("x=y", "z=w=v"), "fallbacks": ()}}).router
    assert settings.aliases == (("x", "y"), ("z", "w=v"))
    assert settings.fallbacks == (("c", "d"),)  # a flag that was not given


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("aliases = 'a'", "[router] aliases: must be names and values"),
        ("aliases = { a = 1 }", "[router] aliases: a: must be a name, not 1"),
        ("aliases = { a = '' }", "[router] aliases: a: must be a name, not ''"),
        ("policies = { a = 'best' }", "[router] policies: a: must be one of auto,"),
    ],
)
def test_invalid_tables_are_refused(toml, table, problem):
    toml.write_text(f"[router]\n{table}\n")
    (problem_line,) = wrong(toml)
    assert problem_line.startswith(f"{toml}: {problem}")


@pytest.mark.parametrize("word", ["a", "=b", "a="])
def test_a_flag_without_a_name_or_value_is_refused(word):
    (problem_line,) = wrong(flags={"router": {"aliases": (word,)}})
    assert problem_line.startswith("--aliases: must be names and values, NAME=VALUE")


@pytest.mark.parametrize(
    "text",
    [
        "v1/files",
        "/a b",
        "get /a",
        "/a?b",
        "GET/a",
        "**",
        "GET *",
        "//v1/models",
        "/v1/../sleep",
        "/v1/%2e%2e/sleep",
        "/a//*",
        "GET /a/./*",
        "/a;b",
        "/a%2",
    ],
)
def test_a_pattern_that_can_match_no_path_is_refused(text):
    with pytest.raises(ConfigError, match="allow-paths: must be a path such as"):
        load_settings(flags={"router": {"allow_paths": text}})


@pytest.mark.parametrize(
    "origin", ["https://chat.example/", "chat.example", "https://a/b", "https://a@b", "file://x/y"]
)
def test_an_origin_is_a_scheme_a_host_and_a_port(origin):
    listed = load_settings(flags={"router": {"cors_origins": "*,null,app://x,http://a:1"}}).router
    assert listed.cors_origins == ("*", "null", "app://x", "http://a:1")
    with pytest.raises(ConfigError, match="an origin such as"):
        load_settings(flags={"router": {"cors_origins": origin}})


@pytest.mark.parametrize("host", ["http://a", "a:8000", "a/b", "*.example.org"])
def test_an_allowed_host_has_no_scheme_and_no_port(host):
    with pytest.raises(ConfigError, match="a host without a port"):
        load_settings(flags={"registry": {"allowed_hosts": host}})
    allowed = load_settings(flags={"registry": {"allowed_hosts": "gpu7.site,10.0.0.7,[fd00::7],fd00::8,*"}}).registry
    assert len(allowed.allowed_hosts) == 5


def test_a_wrong_rule_stops_only_what_checks_the_rules(toml):
    toml.write_text("[router]\nport = 9001\n[[model]]\nname = 'qwen'\nawake_max = 'two'\n")
    assert wrong(toml)[0].startswith(f"{toml}: [[model]] 1: awake_max: must be a whole number")
    assert load_settings(toml, check_rules=False).router.port == 9001


def test_other_errors_are_found_without_a_check_of_the_rules(toml):
    toml.write_text("[router]\nprot = 9001\n[[model]]\nname = 'qwen'\nawake_max = 'two'\n")
    assert len(wrong(toml)) == 2
    assert [problem.partition(" unknown key")[0] for problem in wrong(toml, check_rules=False)] == [
        f"{toml}: [router] prot:"
    ]
