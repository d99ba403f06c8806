"""The components of a router: the name of the site on the page, and the loops that an open page needs."""

from svc.router.router_components import _site_directory_name, build
from svc.settings import RouterSettings


def test_a_site_without_a_name_has_that_of_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _site_directory_name() == "", "this directory is no site"
    (tmp_path / "config").mkdir()
    assert _site_directory_name() == tmp_path.name


def test_a_page_that_opens_wakes_the_loops_that_read_events_and_gpus_for_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    components = build(RouterSettings(registry_url="http://127.0.0.1:9"), loopback_only=True)
    woken = []
    for loop in components.loops:
        monkeypatch.setattr(loop, "wake", lambda name=loop.name: woken.append(name))
    components.feed.open()
    assert sorted(woken) == ["GPUs", "registry events"]
