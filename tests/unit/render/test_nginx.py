"""nginx's files: where settings and instances stand in them, and that no value becomes syntax."""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render import nginx
from svc.render.generate import plan_output

TLS = {"certificate": "/etc/ssl/llm.pem", "key": "/etc/ssl/private/llm key.pem"}


def nginx_settings(nginx=None, **flags):
    return load_settings(flags={"nginx": {**TLS, **(nginx or {})}, **flags})


def files(nginx_flags=None, **flags):
    return nginx.render([], nginx_settings(nginx_flags, **flags), None)


def lines(text, word):
    return [line.strip() for line in text.splitlines() if line.strip().startswith(f"{word} ")]


def servers(texts):
    return lines(texts["upstream.conf"], "server")


def problems(nginx_flags=None, **flags):
    with pytest.raises(ConfigError) as caught:
        files(nginx_flags, **flags)
    return caught.value.problems


def listed(name, **more):
    return {
        "name": f"{name}-server",
        "url": f"http://{name}.example:8100",
        "weight": 1,
        "is_healthy": True,
        "metadata": {"type": "openai-api", "models": ["m"]},
        **more,
    }


def from_registry(*services, **flags):
    return nginx.render_listed(services, nginx_settings({"upstream": "instances", **flags}))


def test_the_default_upstream_is_the_sites_router():
    texts = files()
    assert set(texts) == {"server.conf", "upstream.conf"}
    assert servers(texts) == ["server 127.0.0.1:8000;"]
    assert "keepalive 64;" in texts["upstream.conf"]
    assert lines(texts["server.conf"], "ssl_certificate_key") == ['ssl_certificate_key "/etc/ssl/private/llm key.pem";']


def test_nginx_gets_the_limits_of_the_router():
    server = files(router={"max_body": 4096, "proxy_timeout": 99.5})["server.conf"]
    assert lines(server, "client_max_body_size") == ["client_max_body_size 4096;"]
    assert lines(server, "proxy_read_timeout") == ["proxy_read_timeout 110s;"], "the router is the first to say so"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"router": {"host": "0.0.0.0", "port": 9000}}, ["127.0.0.1:9000"]),
        ({"router": {"host": "10.0.0.9"}}, ["10.0.0.9:8000"]),
        ({"launch": {"router_url": "http://control:8000"}}, ["control:8000"]),
        ({"launch": {"router_url": "http://localhost:8000"}}, ["127.0.0.1:8000"]),
        (
            {"nginx_flags": {"routers": "10.0.0.2:8000, http://10.0.0.1:8000,[fd00::1]:8000"}},
            ["10.0.0.2:8000", "10.0.0.1:8000", "[fd00::1]:8000"],
        ),
    ],
)
def test_the_addresses_of_the_routers(flags, expected):
    assert sorted(servers(files(**flags))) == sorted(f"server {address};" for address in expected)


def test_a_router_that_serves_tls_itself_is_refused():
    (problem,) = problems(router={"certfile": "/x"})
    assert problem.startswith("config/svc.toml: [router] certfile: the router serves TLS itself; ")


def test_every_problem_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        nginx.render([], load_settings(flags={"nginx": {"listen": "70000", "server_name": "a b;"}}), None)
    assert [p.partition(":")[2].split(":")[0].strip() for p in caught.value.problems] == [
        "[nginx] listen",
        "[nginx] server_name",
        "[nginx] certificate",
        "[nginx] key",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server_name", "a; }"),
        ("server_name", "a{"),
        ("server_name", "$host"),
        ("server_name", "~^a"),
        ("server_name", ""),
        ("server_name", "a.*.b"),
        ("server_name", '"a"'),
        ("server_name", "a\nb#"),
        ("listen", ""),
        ("listen", "0"),
        ("listen", "443 default_server"),
        ("listen", "443;"),
        ("listen", "::1:443"),
        ("listen", "443,"),
        ("listen", "999.0.0.1:443"),
        ("listen", "unix:/x"),
        ("certificate", "llm.pem"),
        ("certificate", '/a"b'),
        ("certificate", "/a$b"),
        ("certificate", "/a\\"),
        ("key", "/a\nb"),
        ("key", "/a;b"),
        ("key", "/a\0"),
        ("key", "engine:x:y"),
        ("routers", "a:1;"),
        ("routers", "a b:1"),
        ("routers", "https://a:1"),
        ("routers", "a:1/x"),
        ("routers", ","),
        ("routers", "u@a:1"),
        ("routers", "a:99999"),
        ("routers", "$a:1"),
        ("routers", "http://a:1?x"),
        ("routers", "[fe80::1%25eth0]:1"),
    ],
)
def test_no_value_becomes_syntax(key, value):
    matching = [p for p in problems({key: value}) if p.startswith(f"config/svc.toml: [nginx] {key}: ")]
    assert matching
    assert all("\n" not in problem for problem in matching)


def test_only_healthy_instances_of_the_registry_are_in_the_upstream():
    texts, notes = from_registry(
        listed("b", weight=3),
        listed("a"),
        listed("drained", is_healthy=False, drained=True),
        listed("odd", is_healthy="yes"),
        listed("spare", weight=0),
        {**listed("sidecar"), "metadata": {"type": "babysitter"}},
    )
    assert servers(texts) == [
        "server a.example:8100;  # a-server",
        "server b.example:8100 weight=3;  # b-server",
        "server spare.example:8100 backup;  # spare-server",
    ]
    assert notes == []
    assert "keepalive" not in texts["upstream.conf"]
    assert texts["upstream.conf"].startswith('# made by "svc render" from the registry\n')


def test_backups_serve_where_no_other_server_is_left():
    texts, _ = from_registry(listed("spare", weight=0))
    assert servers(texts) == ["server spare.example:8100;  # spare-server"]


def test_the_order_of_the_list_does_not_matter():
    first, other = listed("a"), listed("b")
    assert from_registry(first, other) == from_registry(other, first)


@pytest.mark.parametrize(
    "more",
    [
        {"url": "https://a:8100"},
        {"url": "http://a:8100/v1"},
        {"url": "http://a;b:8100"},
        {"url": None},
        {"url": "http://a:8100#}"},
        {"url": "http://[::1:8100"},
        {"name": "a\nb"},
        {"name": "a;"},
    ],
)
def test_an_unusable_instance_is_left_out_with_a_note(more):
    texts, notes = from_registry(listed("fine"), {**listed("a"), **more})
    assert servers(texts) == ["server fine.example:8100;  # fine-server"]
    (note,) = notes
    assert "left out" in note
    assert "\n" not in note


def test_only_instances_of_the_model_are_in_the_upstream():
    other = {"type": "openai-api", "models": ["other"]}
    texts, _ = from_registry(listed("a"), listed("b", metadata=other), model="other")
    assert servers(texts) == ["server b.example:8100;  # b-server"]


def test_without_a_healthy_instance_the_files_stay():
    with pytest.raises(ConfigError, match="no healthy instance with model 'x'; what is there is left as it is"):
        from_registry(listed("a"), model="x")


def test_from_registry_needs_instances_as_the_upstream():
    with pytest.raises(ConfigError, match=r'\[nginx\] upstream: the registry lists instances; set it to "instances"'):
        nginx.check_listed(nginx_settings())


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    for name, weight in (("b", 2), ("a", 1)):
        (tmp_path / "config" / f"{name}.toml").write_text(
            f'name = "{name}"\nhost = "10.0.0.7"\nport = {8100 + 10 * weight}\nregistry_url = "http://10.0.0.1:18000"\n'
            f'[backend]\ntype = "mock"\nmodels = ["m"]\n[metadata]\nweight = {weight}\n'
        )
    return Site(Path())


def plan(site, out=None, **nginx_flags):
    return plan_output(site, nginx_settings(nginx_flags), "nginx", site.tomls(), out)


def test_the_upstream_of_the_instances_in_the_toml_files(site):
    plan(site, upstream="instances").write()
    assert servers({"upstream.conf": (site.root / "nginx" / "upstream.conf").read_text()}) == [
        "server 10.0.0.7:8110;  # a",
        "server 10.0.0.7:8120 weight=2;  # b",
    ]
    assert not plan(site, upstream="instances").stale


def test_a_model_needs_from_registry(site):
    with pytest.raises(ConfigError, match=r"\[nginx\] model: .*render with --from-registry"):
        plan(site, upstream="instances", model="m")


def test_a_site_without_instances_is_refused_as_upstream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no instance; write its TOML file"):
        plan(Site(Path()), upstream="instances")


def test_foreign_files_stay_and_old_generated_files_are_removed(site):
    (site.root / "nginx").mkdir()
    (site.root / "nginx" / "mine.conf").write_text("# mine\n")
    (site.root / "nginx" / "old.conf").write_text('# made by "svc render" from an earlier version\n')
    plan(site).write()
    assert {path.name for path in (site.root / "nginx").iterdir()} == {"mine.conf", "server.conf", "upstream.conf"}
    (site.root / "nginx" / "server.conf").write_text("# mine\n")
    with pytest.raises(ConfigError, match=r"nginx/server.conf: not made by svc render, so it is left alone"):
        plan(site)


def test_files_can_be_written_to_another_directory(site, tmp_path):
    plan(site, tmp_path / "front").write()
    assert (tmp_path / "front" / "server.conf").is_file()
    assert not (site.root / "nginx").exists()
