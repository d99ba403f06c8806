"""`svc plan` on sites that run and on one that does not: it shows what would change, and changes nothing."""

import json

import pytest

from tests.waiting import wait_until


def edit(site, name, old, new):
    path = site.root / "config" / f"{name}.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def planned(site, *arguments, status=2):
    return json.loads(site.svc("plan", "--json", *arguments, status=status)[0])


def by_name(rows):
    return {row["name"]: row for row in rows}


@pytest.mark.long
def test_a_plan_shows_each_change_and_changes_nothing(site):
    for name, models in (("one", "m"), ("two", "m"), ("three", "big"), ("four", "m")):
        site.mock(name, models, heartbeat_interval=1)
    site.svc("up")
    wait_until(lambda: len(site.routed()) == 4)
    assert site.svc("plan")[0] == "Nothing to do: what runs is what the files say.\n"
    assert planned(site, status=0)["changes"] is False

    edit(site, "one", "[backend]", "[metadata]\ncache_type = 'static'\n[backend]")  # only its babysitter reads it
    edit(site, "two", "[backend]", "[backend]\nenv = { HF_TOKEN = 'hunter2', X = '1' }")
    edit(site, "three", "'big'", "'big,bigger'")
    edit(site, "svc", "registry_sync_interval = 0.5", "registry_sync_interval = 0.7")
    (site.root / "config" / "four.toml").unlink()
    site.mock("five", "m")
    (site.root / "conf.d" / "cron.conf").write_text("[program:cron]\ncommand=sleep 1000\n")
    before, running = site.files(), site.supervisord.processes()
    result = planned(site)
    out, err = site.svc("plan", status=2)
    assert "hunter2" not in out + err + json.dumps(result)
    assert site.files() == before
    assert {n: p.pid for n, p in site.supervisord.processes().items()} == {n: p.pid for n, p in running.items()}

    parts = by_name(result["parts"])
    assert {name: part["change"] for name, part in parts.items()} == {
        "one": "changed",
        "two": "changed",
        "three": "changed",
        "four": "removed",
        "five": "added",
        "router": "changed",
        "cron": "added",
    }
    assert by_name(parts["one"]["programs"]).keys() == {"one:babysitter"}
    [env] = [e for e in by_name(parts["two"]["programs"])["two:server"]["edits"] if e["key"] == "environment.X"]
    assert (env["old"], env["new"]) == (None, "1")
    assert by_name(parts["three"]["programs"])["three:server"]["edits"] == [
        {"key": "command", "old": "--models big", "new": "--models big,bigger"}
    ]
    assert parts["router"]["programs"][0]["edits"] == [
        {"key": "command", "old": "--registry-sync-interval 0.5", "new": "--registry-sync-interval 0.7"}
    ]
    assert "none is refused" in parts["router"]["effect"]
    assert result["without_instance"] == [{"model": "big", "instance": "three", "forever": False}]
    assert {file["path"]: file["change"] for file in result["files"]} == {
        "conf.d/two.conf": "changed",
        "conf.d/three.conf": "changed",
        "conf.d/router.conf": "changed",
        "conf.d/four.conf": "gone",
        "conf.d/five.conf": "new",
    }
    assert result["foreign"] == ["conf.d/cron.conf"]

    some = by_name(planned(site, "config/five.toml")["parts"])
    assert some.keys() == {"five", "router", "cron"}, "files that are given remove nothing, and refresh no others"

    site.supervisord.stop("registry")
    result = planned(site)
    assert result["without_instance"] is None
    assert result["notes"][0].startswith("cannot tell which models have no instance meanwhile")
    assert "give its address with --registry-url" in result["notes"][0]

    site.svc("up")
    wait_until(lambda: len(site.routed()) == 4)
    assert "Nothing to do" in site.svc("plan")[0]


def test_rendered_files_that_were_not_applied_are_still_a_change(site):
    site.mock("one")
    site.svc("up")
    edit(site, "one", "'m'", "'m,n'")
    site.svc("render")
    result = planned(site)
    assert result["files"] == []
    assert [part["name"] for part in result["parts"]] == ["one"]
    site.run("supervisorctl", "reread")
    assert [part["name"] for part in planned(site)["parts"]] == ["one"], "supervisord has read it, and runs the old one"


def test_a_site_that_runs_by_the_environment_is_refused_with_the_cure(site):
    port = site.router_port
    site.mock("one")
    edit(site, "svc", f"port = {port}", "port = 1")
    site.svc("up", ROUTER_PORT=str(port))
    line = site.refused("plan")
    assert "var/supervisord.conf" in line
    assert "config/svc.toml" in line
    assert "`svc down`" in line


def test_without_supervisord_everything_would_be_started(site):
    site.mock("one")
    result = planned(site)
    assert result["supervisord"] is None
    assert {part["name"]: part["change"] for part in result["parts"]} == dict.fromkeys(
        ("registry", "router", "one"), "added"
    )
    assert "`svc up` starts all of it" in site.svc("plan", status=2)[0]
    assert not (site.root / "conf.d").exists()
    assert not (site.root / "var").exists()


@pytest.mark.parametrize("wrong", ["port = 'x'", "nonsense = 1"])
def test_a_wrong_toml_is_an_error_and_exits_with_1(site, wrong):
    path = site.root / "config" / "one.toml"
    site.mock("one")
    path.write_text(f"{wrong}\n{path.read_text().replace('port =', '#')}")
    _, err = site.svc("plan", status=1)
    assert all(line.startswith("svc: ") and "config/one.toml" in line for line in err.splitlines())
