"""`svc up` beside another one, after a cure, and with what it has to wait for."""

import os
import signal

from tests.e2e.sites import http
from tests.waiting import free_port_pair, wait_until

# The instance prints the content of `error` and fails, unless that file is missing.
COMMAND = """command = "sh"
args = ["-c", "if test -f error; then cat error; exit 3; fi; exec svc mock --name one --port {} --models m"]"""


def test_up_after_a_cure_starts_at_once_what_waits_for_its_restart(site):
    port = free_port_pair()
    site.toml("one", port, COMMAND.format(port), restart_delay=3600)
    error = site.root / "error"
    error.write_text("the first fault\n")
    out, err = site.svc("up", status=1)
    assert "the first fault" in out
    assert "one:server: BACKOFF" in err
    assert "the first fault" in site.svc("doctor", status=1)[0]

    error.unlink()
    site.svc("up")
    assert "the first fault" not in site.svc("doctor", status=None)[0]

    error.write_text("the second fault\n")
    site.supervisord.stop("one:server")
    out, err = site.svc("up", status=1)
    assert "the second fault" in out
    assert "the first fault" not in out

    error.unlink()
    site.svc("drain", "one")
    out, _ = site.svc("up")
    assert f"ready at http://localhost:{port}, drained: no requests until `svc undrain one`" in out


def test_the_second_of_two_ups_says_so_and_both_succeed(site):
    site.mock("one")
    ups = [site.start("svc", "up") for _ in range(2)]
    outputs = [up.communicate(timeout=60) for up in ups]
    assert [up.returncode for up in ups] == [0, 0], outputs
    [note] = [line for out, _ in outputs for line in out.splitlines() if line.startswith("another ")]
    assert note.startswith("another `svc up`")


def test_a_second_ctrl_c_leaves_the_rest_to_supervisord(site):
    site.toml("slow", free_port_pair(), 'command = "sh"\nargs = ["-c", "trap \'\' TERM; echo begun; sleep 1000"]')
    up = site.start("svc", "up")
    log = site.root / "logs" / "server_slow.log"
    wait_until(lambda: log.exists() and "begun" in log.read_text(), timeout=60)
    pid, server = site.pid(), site.pid("slow:server")
    up.send_signal(signal.SIGINT)
    wait_until(lambda: site.supervisord.process("slow:server").state == "STOPPING", timeout=30)
    up.send_signal(signal.SIGINT)
    out, _ = up.communicate(timeout=30)
    assert up.returncode == 130
    [line] = [line for line in out.splitlines() if line.startswith("supervisord ends by itself what still runs: ")]
    assert "slow:server" in line
    assert f"supervisord (pid {pid})" in line
    os.killpg(server, signal.SIGKILL)
    site.svc("down")
    assert not site.processes()


def test_a_router_whose_registry_wants_a_token_has_the_reason(site):
    (site.root / "token").write_text("secret")
    settings = site.root / "config" / "svc.toml"
    guarded = '[registry]\nloopback_needs_token = true\nread_token_file = "token"\ntoken_file = "token"'
    settings.write_text(settings.read_text().replace("[registry]", guarded))
    line = site.refused("up")
    assert line.startswith(
        f"svc: router: needs a setting to be changed: the registry at http://localhost:{site.registry_port}"
    )
    assert "registry_token_file under [router]" in line
    assert "router: waiting 0/0: the registry" in site.svc("status", status=1)[0]
    settings.write_text(f'{settings.read_text()}registry_token_file = "token"\nkeys_file = "keys.toml"\n')
    assert "router: keys.toml: cannot read the keys" in site.refused("up")
    _, err = site.svc("keys", "add", "me")
    assert "keys.toml: configured, and not applied yet" in err
    assert "API keys are configured, and not applied yet" in site.svc("doctor", status=None)[0]
    assert "router: keys.toml: configured, and not applied yet" in site.svc("status", status=1)[0]
    site.svc("up")
    assert "not applied" not in "".join(site.svc("keys", "list")) + site.svc("status")[0]
    assert http.get(f"{site.router}/v1/models").status_code == 401
    assert "model 'zzz': no instance serves it" in site.svc("doctor", "--model", "zzz", status=1)[0]
