"""The systemd unit and the logrotate rule of a site."""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render.generate import plan_output, plan_site
from svc.render.systemd import STOP_MARGIN_SECONDS, stop_time
from svc.router.serve import WORKER_CONNECTIONS

TOML = 'name = "a"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\n'


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.toml").write_text(TOML)
    return Site(Path())


def made(site, kind, toml=""):
    site.svc_toml.write_text(toml)
    ((path, _, after),) = plan_output(site, load_settings(site.svc_toml), kind, site.tomls()).edits
    return str(path), after.decode()


def values(text):
    """Return the last value of each key of a unit."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_the_default_unit(site):
    path, text = made(site, "systemd")
    unit = values(text)
    assert path == "systemd/infinilm-svc.service"
    assert text.startswith('# made by "svc render" from the site\'s settings\n')
    assert (unit["User"], unit["Group"], unit["WorkingDirectory"]) == ("infinilm", "infinilm", "/var/lib/infinilm")
    assert unit["StateDirectory"] == "infinilm/logs infinilm/var"
    assert unit["ExecStartPre"] == "/opt/infinilm-svc/bin/svc prepare"
    assert "ReadWritePaths" not in unit
    assert (unit["ProtectHome"], unit["PrivateTmp"]) == ("read-only", "yes")
    assert unit["ExecStart"] == (
        "/opt/infinilm-svc/bin/supervisord --nodaemon --configuration /var/lib/infinilm/supervisord.conf"
    )
    assert not {"PrivateDevices", "DeviceAllow", "DevicePolicy", "ProtectClock", "MemoryDenyWriteExecute"} & set(unit)


def test_a_unit_for_another_directory_and_user(site):
    _, text = made(site, "systemd", '[systemd]\nuser = "llm"\ngroup = "gpu"\nsite = "/srv/llm"\nprefix = "/srv/venv"')
    unit = values(text)
    assert (unit["User"], unit["Group"], unit["WorkingDirectory"]) == ("llm", "gpu", "/srv/llm")
    assert "StateDirectory" not in unit
    assert unit["ExecStartPre"] == "/srv/venv/bin/svc prepare"
    assert unit["ExecStop"] == "/srv/venv/bin/svc down"


@pytest.mark.parametrize("path", ["/home/llm/site", "/root/site", "/usr/local/llm", "/etc/llm"])
def test_a_site_in_a_directory_that_the_sandbox_makes_read_only_is_writable(site, path):
    unit = values(made(site, "systemd", f'[systemd]\nsite = "{path}"\n')[1])
    assert unit["ReadWritePaths"] == path
    assert unit["ProtectHome"] == "read-only", "other homes stay read-only"


def test_a_site_in_tmp_is_visible_to_the_service(site):
    for key in ("site", "prefix"):
        assert values(made(site, "systemd", f'[systemd]\n{key} = "/tmp/llm"\n')[1])["PrivateTmp"] == "no"


def test_the_file_limit_suffices_for_supervisord_and_the_router(site):
    limit = int(values(made(site, "systemd")[1])["LimitNOFILE"])
    plan_site(site, load_settings(), site.tomls()).write()
    (line,) = [line for line in site.supervisord_conf.read_text().splitlines() if line.startswith("minfds=")]
    assert int(line.removeprefix("minfds=")) <= limit, "or supervisord would not start"
    assert limit >= 2 * WORKER_CONNECTIONS


def test_the_stop_timeout_is_that_of_the_phases_of_svc_down(site):
    """The router's 300 + 5 s, a babysitter's 15, then an instance's 30."""
    unit = values(made(site, "systemd", "[router]\ngraceful_timeout = 300\n")[1])
    assert int(unit["TimeoutStopSec"]) == 305 + 15 + 30 + STOP_MARGIN_SECONDS


def test_programs_that_svc_did_not_render_count_for_the_timeout(site):
    site.conf_d.mkdir()
    (site.conf_d / "mine.conf").write_text("[program:mine]\ncommand=x\nstopwaitsecs=600 ; long\n")
    assert int(values(made(site, "systemd")[1])["TimeoutStopSec"]) == 35 + 15 + 600 + STOP_MARGIN_SECONDS
    assert stop_time(["[program:mine]\ncommand=x\n"]) == 10, "supervisord's own default"


def test_a_rule_for_logrotate(site):
    path, text = made(site, "logrotate", '[logs]\nrotate = "logrotate"\nmax_size = "7GB"\nbackups = 3\n')
    assert path == "logrotate/infinilm-svc"
    for line in ("/var/lib/infinilm/logs/*.log {", "    size 7G", "    rotate 3", "    su infinilm infinilm"):
        assert line in text.splitlines()


def test_a_rule_is_refused_where_supervisord_rotates_itself(site):
    with pytest.raises(ConfigError, match=r"svc.toml: \[logs\] rotate: supervisord rotates"):
        made(site, "logrotate")


def test_with_logrotate_supervisord_rotates_nothing(site):
    site.svc_toml.write_text('[logs]\nrotate = "logrotate"\n')
    plan_site(site, load_settings(site.svc_toml), site.tomls()).write()
    texts = [path.read_text() for path in (*site.conf_d.iterdir(), site.supervisord_conf)]
    sizes = [line for text in texts for line in text.splitlines() if "_maxbytes=" in line or "_backups=" in line]
    assert len(sizes) == 10
    assert all(line.endswith("=0") for line in sizes)


def test_without_logrotate_supervisord_gets_the_limits_of_logs(site):
    site.svc_toml.write_text('[logs]\nmax_size = "3KB"\nbackups = 0\nformat = "json"\n')
    plan_site(site, load_settings(site.svc_toml), site.tomls()).write()
    text = (site.conf_d / "a.conf").read_text()
    assert text.count("stdout_logfile_maxbytes=3KB\nstdout_logfile_backups=0\n") == 2
    assert text.count(',SVC_LOG_FORMAT="json"\n') == 1, "the babysitter's, not the instance's"
    assert "logfile_maxbytes=3KB\nlogfile_backups=0\n" in site.supervisord_conf.read_text()


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ('systemd]\nuser = "Me"', "[systemd] user: must be the name of a user or a group"),
        ('systemd]\nuser = "root\\nExecStart=x"', "[systemd] user: must be the name of a user or a group"),
        ('systemd]\nsite = "var/lib"', "[systemd] site: must be an absolute path"),
        ('systemd]\nsite = "/"', "[systemd] site: must be an absolute path"),
        ('systemd]\nsite = "/var/../etc"', "[systemd] site: must be an absolute path"),
        ('systemd]\nsite = "/var/my site"', "[systemd] site: must be an absolute path"),
        ('systemd]\nprefix = "/opt/%n"', "[systemd] prefix: must be an absolute path"),
        ("systemd]\nprefix = 1", "[systemd] prefix: must be text, not 1"),
        ('systemd]\nusers = "a"', "[systemd] users: unknown key; there are user, group, site, prefix"),
        ('logs]\nmax_size = "50"', "[logs] max_size: must be a size such as 50MB (KB, MB or GB), not '50'"),
        ('logs]\nmax_size = "0MB"', "[logs] max_size: must be a size"),
        ("logs]\nbackups = -1", "[logs] backups: must be at least 0, not -1"),
        ('logs]\nrotate = "both"', "[logs] rotate: must be one of supervisord, logrotate, not 'both'"),
        ('logs]\nformat = "xml"', "[logs] format: must be one of text, json, not 'xml'"),
    ],
)
def test_invalid_values_are_reported(site, section, expected):
    site.svc_toml.write_text(f"[{section}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(site.svc_toml)
    (problem,) = caught.value.problems
    assert problem.startswith(f"config/svc.toml: {expected}")


def test_a_unit_needs_a_user_and_a_short_site_path(site):
    with pytest.raises(ConfigError, match=r"\[systemd\] site: too long"):
        made(site, "systemd", f'[systemd]\nsite = "/{"x" * 90}"\n')
    with pytest.raises(ConfigError, match=r"\[systemd\] user: must be"):
        made(site, "systemd", '[systemd]\nuser = ""\n')


def test_a_file_that_svc_did_not_generate_is_left_alone(site):
    (site.root / "systemd").mkdir()
    (site.root / "systemd" / "infinilm-svc.service").write_text("[Unit]\n")
    with pytest.raises(ConfigError, match="not made by svc render"):
        made(site, "systemd")


def test_an_unchanged_file_is_not_stale(site):
    settings = load_settings()
    plan_output(site, settings, "systemd", site.tomls()).write()
    assert not plan_output(site, settings, "systemd", site.tomls()).stale


def test_another_directory_keeps_its_other_files(site):
    settings = load_settings()
    plan_site(site, settings, site.tomls()).write()
    change = plan_output(site, settings, "systemd", site.tomls(), Path())
    assert (change.added, change.removed) == ([Path("infinilm-svc.service")], [])
