"""The page's warning of API keys that config/svc.toml names and the running router does not ask for."""

from pathlib import Path

import pytest

from svc.router.ui.unapplied_keys import UnappliedKeys

KEYED = '[router]\nkeys_file = "var/keys.toml"\n'


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "svc.toml"


def test_keys_are_unapplied_from_the_change_of_the_settings_on(settings):
    unapplied = UnappliedKeys(settings, "")
    assert not unapplied.exist(), "there is no file"
    settings.write_text(KEYED)
    assert unapplied.exist()
    settings.write_text(f"{KEYED}[router")
    assert unapplied.exist(), "the settings are invalid for a moment"
    settings.write_text("[router]\n")
    assert not unapplied.exist()


@pytest.mark.parametrize(
    ("required", "exist"), [("var/keys.toml", False), ("./var/keys.toml", False), ("a.toml", True)]
)
def test_keys_that_the_router_requires_are_applied(settings, required, exist):
    settings.write_text(KEYED)
    assert UnappliedKeys(settings, required).exist() == exist
