"""The store that the registry's settings name, and the event of a restart."""

import pytest

from svc.base.errors import ConfigError
from svc.registry.serve import check_store, open_store, report_start
from svc.settings import RegistrySettings
from tests.unit.registry.services import service


def test_a_sqlite_store_is_opened_at_its_path(tmp_path):
    store = open_store(RegistrySettings(store=f"sqlite:{tmp_path}/kept.db"))
    assert store.path == tmp_path / "kept.db"
    store.close()


@pytest.mark.parametrize("url", ["mysql://user:secret@localhost", "sqlite:", "kept.db"])
def test_another_store_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match="give sqlite:PATH or redis://HOST:PORT/DB") as failure:
        open_store(RegistrySettings(store=url))
    assert "secret" not in failure.value.message


def test_the_password_of_a_redis_must_be_in_a_file(tmp_path):
    with pytest.raises(ConfigError, match="name that one: store_password_file") as failure:
        check_store(RegistrySettings(store="redis://:secret@localhost"))
    assert "secret" not in failure.value.message
    file = tmp_path / "password"
    file.write_text("secret\n")
    check_store(RegistrySettings(store="redis://localhost", store_password_file=str(file)))
    file.write_text("")
    with pytest.raises(ConfigError, match="the file is empty"):
        check_store(RegistrySettings(store="redis://localhost", store_password_file=str(file)))


def test_a_restart_is_an_event_but_the_first_start_is_none(tmp_path):
    store = open_store(RegistrySettings(store=f"sqlite:{tmp_path}/registry.db"))
    report_start(store)
    assert store.events(0) == ([], 0)
    store.change("qwen", lambda old: service())
    report_start(store)
    assert [event.kind for event in store.events(0)[0]] == ["registered", "started"]
    store.close()
