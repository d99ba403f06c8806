"""A site whose engine requires an API key: the message of `svc up` without it, and where the key appears with it."""

import pytest

from tests.e2e.sites import http
from tests.waiting import free_port_pair

KEY = "sk-the-key-of-the-engine"
MOCK = 'command = "svc mock"\nargs = ["--name", "one", "--port", "{}", "--models", "m"]\n{}'


@pytest.mark.long
def test_an_engine_s_key_is_required_and_never_shown(site):
    port = free_port_pair()
    site.toml("one", port, MOCK.format(port, f'env = {{ SVC_MOCK_API_KEY = "{KEY}" }}'))
    line = site.refused("up")
    assert "one: needs a setting to be changed: it wants an API key (401)" in line
    assert "[backend] api_key_file in config/one.toml" in line
    assert "one:server: starting: it wants an API key" in site.svc("status", status=1)[0]
    assert "name that: api_key_file under [backend] in config/one.toml" in site.svc("doctor", status=1)[0]

    secrets = site.root / "secrets"
    secrets.mkdir()
    (secrets / "one.key").write_text(KEY)
    (secrets / "upstream.toml").write_text(f'[instances]\none-server = "{KEY}"\n')
    for path in secrets.iterdir():
        path.chmod(0o600)
    given = 'api_key_file = "secrets/one.key"\napi_key_variable = "SVC_MOCK_API_KEY"'
    site.toml("one", port, MOCK.format(port, given))
    with (site.root / "config" / "svc.toml").open("a") as settings:
        settings.write('upstream_keys_file = "secrets/upstream.toml"\n')
    for path in (site.root / "logs").iterdir():
        path.write_text("")
    site.svc("up")
    assert site.chat().status_code == 200
    assert http.get(f"http://127.0.0.1:{port}/v1/models").status_code == 401
    assert "problem" not in site.svc("doctor", status=None)[0]

    shown = {name: text.decode() for name, text in site.files().items() if not name.startswith("secrets")}
    shown |= {path.name: path.read_text() for path in (site.root / "logs").iterdir()}
    shown |= {str(pid): command for pid, command in site.processes().items()}
    shown |= {path.name: path.read_text() for path in (site.root / "var").glob("*.json")}
    urls = (f"{site.registry}/services", f"{site.registry}/events", f"{site.router}/services", f"{site.router}/metrics")
    shown |= {url: http.get(url).text for url in (*urls, f"http://127.0.0.1:{port + 1}/info")}
    assert [name for name, text in shown.items() if KEY in text] == []
