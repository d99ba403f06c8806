"""`svc doctor` on real sites: the guide's three problems, caused in several ways, are found and cured by its fixes."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from svc.doctor.findings import PROBLEM
from tests.e2e.sites import BIN, SharedSite, Site, clean_environ, http
from tests.waiting import free_port_pair, other_address, wait_until

SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
sys.stdin.read()
"""


def doctor(site: Site, *arguments: str, status: int | None = 1) -> list[dict]:
    """Return the findings, the one to cure first at the beginning."""
    result = json.loads(site.svc("doctor", "--json", *arguments, status=status)[0])
    assert result["ok"] == (result["problems"] == 0)
    return result["findings"]


def everything(findings: list[dict]) -> dict[str, dict]:
    """Return causes and consequences, by key."""
    by_key = {}
    for finding in findings:
        by_key |= {finding["key"]: finding, **everything(finding["consequences"])}
    return by_key


def fix(site: Site, finding: dict, status: int | None = 0) -> str:
    """Run the fix of a finding, as an operator who pastes it into a shell."""
    ran = subprocess.run(
        ["bash", "-c", finding["fix"]],
        cwd=site.root,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=90,
        stdin=subprocess.DEVNULL,
    )
    assert status is None or ran.returncode == status, f"{finding['fix']}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def wait_until_healthy(site: Site, *arguments: str) -> None:
    """Wait until the doctor has no findings and requests are answered."""

    def healed() -> bool:
        return not doctor(site, *arguments, status=None)

    wait_until(healed, timeout=45, description=f"health, not {doctor(site, *arguments, status=None)}")
    assert site.chat().status_code == 200


def start_one(site: Site) -> None:
    site.mock("one", heartbeat_interval=1, restart_delay=1)
    site.svc("up")
    wait_until(site.answers, 30, "the router to serve the instance")


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedSite]:
    site = SharedSite(start_one)
    yield site
    site.end()


@pytest.fixture
def ailing(shared: SharedSite) -> Iterator[Site]:
    """A site that is well, with one instance. What a test breaks it also cures, so the next test has the same site."""
    site = shared.open()
    yield site
    if site.control_answers() and any(count.restarts for count in site.supervisord.restarts().values()):
        site.run("supervisorctl", "restart", "one:*", status=None)  # resets the counts, which doctor would report
        wait_until(site.answers, 30, "the router to serve the instance again")
    shared.end_if_changed()


# Health.


def test_a_healthy_site_has_no_findings_and_is_not_changed(ailing):
    files, pids = ailing.files(), ailing.run("supervisorctl", "pid", "all")[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out, err = ailing.svc("doctor")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < 5, "processor time, which does not depend on what else the machine does"
    assert out.splitlines()[-1] == "all is well"
    assert out.startswith("ok ")
    assert err == ""
    assert doctor(ailing, status=0) == []
    assert doctor(ailing, "--model", "m", status=0) == []
    assert (ailing.files(), ailing.run("supervisorctl", "pid", "all")[0]) == (files, pids)


def test_a_directory_that_is_no_site_and_a_site_that_does_not_run(site):
    (site.root / "config" / "svc.toml").unlink()
    assert [finding["key"] for finding in doctor(site)] == ["files.none"]
    again = Site(site.root)
    again.mock("one")
    [down] = doctor(again)
    assert down["key"] == "supervisord.down"
    assert down["consequences"]
    assert len(again.svc("doctor", status=1)[0].splitlines()[0]) < 200
    fix(again, down)
    wait_until_healthy(again)


# Router returns 503 "No healthy services available".


def refused(site: Site) -> None:
    answer = site.chat()
    assert answer.status_code == 503
    assert "No healthy services available" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("broken", "key", "text"),
    [
        (["supervisorctl", "stop", "one:server"], "program.one:server", "stopped by hand"),
        (["svc", "drain", "one"], "instance.one-server", "drained"),
    ],
)
def test_503_because_of_an_operator_s_action(ailing, broken, key, text):
    ailing.run(*broken)
    wait_until(lambda: ailing.chat().status_code == 503, description="the router to hear of it")
    refused(ailing)
    [cause] = doctor(ailing)
    assert cause["key"] == key
    assert text in cause["what"]
    result = everything([cause])["model.m"]
    assert "503" in result["what"]
    fix(ailing, cause)
    wait_until_healthy(ailing)


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ('command = "no-such-engine"', "there is no command no-such-engine"),
        pytest.param(
            f"command = {sys.executable!r}\nargs = ['-c', 'open(\"/models/absent/config.json\")']",
            "/models/absent",
            marks=pytest.mark.long,
        ),
        pytest.param(
            f"command = {sys.executable!r}\nargs = ['-c', 'raise SystemExit(\"CUDA out of memory.\")']",
            "the GPU's memory is full",
            marks=pytest.mark.long,
        ),
    ],
)
def test_503_because_the_instance_cannot_start(ailing, backend, text):
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(before.partition("[backend]")[0] + f'[backend]\ntype = "command"\n{backend}\n')
    ailing.svc("up", status=1)
    wait_until(lambda: ailing.chat().status_code == 503, description="the router to hear of it")
    # On a busy machine supervisord calls the command RUNNING for a moment before it ends.
    causes = wait_until(
        lambda: (findings := doctor(ailing)) and findings[0]["key"] == "program.one:server" and findings,
        timeout=30,
        description="the cause first",
    )
    assert text in causes[0]["what"]
    assert "[backend]" in causes[0]["first"]
    assert "config/one.toml" in causes[0]["first"]
    toml.write_text(before)
    fix(ailing, causes[0])
    wait_until_healthy(ailing)


@pytest.mark.long
def test_503_because_another_program_has_the_port(ailing):
    port = ailing.service("one-server")["port"]
    ailing.run("supervisorctl", "stop", "one:server")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout.readline() == "listening\n"
            ailing.run("supervisorctl", "start", "one:server", status=None)
            wait_until(
                lambda: ailing.supervisord.process("one:server").state == "BACKOFF",
                description="the refusal of the port",
            )
            cause = doctor(ailing)[0]
            assert cause["key"] == f"port.{port}"
            assert f"(pid {other.pid})" in cause["what"]
            assert {"program.one:server", "model.m"} <= everything([cause]).keys()
            fix(ailing, cause)
            other.wait(timeout=10)
        finally:
            other.kill()
    wait_until(
        lambda: ailing.supervisord.process("one:server").state == "RUNNING", 30, description="the server to run again"
    )
    for finding in doctor(ailing, status=None):
        if finding["key"] == "restarts.one:server":  # a slow machine has refused it three times, which is a warning
            fix(ailing, finding)
    wait_until_healthy(ailing)


def test_502_because_the_instance_listens_on_loopback_only(site):
    here = other_address()
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    shut = f'host = "{here}"\n{toml.read_text()}'
    toml.write_text(shut)
    site.svc("up")
    assert site.chat().status_code in (502, 503)
    cause = wait_until(
        lambda: next((f for f in doctor(site, status=None) if f["key"] == "outside.one"), None),
        description="the server's age",
    )
    assert f"{here}:" in cause["what"]
    assert "--host 0.0.0.0" in cause["first"]
    toml.write_text(shut.replace("'--port'", "'--host', '0.0.0.0', '--port'"))
    fix(site, cause)
    wait_until_healthy(site)


# Service not registering.


def test_not_registering_because_the_registry_is_down(ailing):
    ailing.run("supervisorctl", "stop", "registry")
    wait_until(lambda: "babysitter.one" in everything(doctor(ailing)), description="the babysitter to notice")
    causes = doctor(ailing)
    assert [cause["key"] for cause in causes] == ["program.registry"]
    assert {"registry.silent", "babysitter.one"} <= everything(causes).keys()
    first, *_ = ailing.svc("doctor", status=1)[0].splitlines()
    assert first == "problem  registry: was stopped by hand"
    fix(ailing, causes[0])
    wait_until_healthy(ailing)


def test_not_registering_because_the_babysitter_was_stopped(ailing):
    ailing.run("supervisorctl", "stop", "one:babysitter")
    wait_until(lambda: ailing.chat().status_code == 503, description="the deregistration")
    [cause] = doctor(ailing)
    assert cause["key"] == "program.one:babysitter"
    assert "instance.one-server" in everything([cause])
    fix(ailing, cause)
    wait_until_healthy(ailing)


def test_not_registering_because_of_a_wrong_token(site):
    """From another machine, as the registry sees it: its own address is not loopback's."""
    here = other_address()
    token, copy = site.root / "token", site.root / "copy"
    config = site.root / "config" / "svc.toml"
    result = f'[registry]\nhost = "0.0.0.0"\ntoken_file = "{token}"'
    config.write_text(config.read_text().replace("[registry]", result))
    for path, word in ((token, "right"), (copy, "wrong")):
        path.write_text(word)
        path.chmod(0o600)
    site.mock("one", heartbeat_interval=1)
    config.write_text(config.read_text() + f'[launch]\nregistry_url = "http://{here}:{site.registry_port}"\n')
    toml = site.root / "config" / "one.toml"
    served = toml.read_text().replace("'--port'", "'--host', '0.0.0.0', '--port'")
    toml.write_text(f'host = "{here}"\ntoken_file = "{copy}"\n{served}')
    site.svc("up", "--timeout", "3", status=1)

    def refusal_with_its_babysitter() -> dict:
        finding = everything(doctor(site)).get(f"registry.write.{copy}", {})
        return finding if "babysitter.one" in everything([finding] if finding else []) else {}

    refusal = wait_until(refusal_with_its_babysitter, description="the refusal and the babysitter that it explains")
    assert str(copy) in refusal["what"]
    assert doctor(site)[0]["key"] == refusal["key"]
    copy.write_text("right")
    fix(site, refusal, status=None)
    wait_until_healthy(site)


@pytest.mark.long
def test_not_registering_because_the_name_is_taken(site):
    token = site.root / "token"
    token.write_text("secret")
    token.chmod(0o600)
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text().replace("[registry]", f'[registry]\ntoken_file = "{token}"'))
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    site.run("supervisorctl", "stop", "one:*")
    wait_until(lambda: not site.service("one"), description="the deregistration")
    other = {"name": "one", "host": "127.0.0.1", "hostname": "elsewhere", "port": 9, "url": "http://127.0.0.1:9"}
    http.post(
        f"{site.registry}/services",
        json={**other, "status": "running", "lease_seconds": 3600},
        headers={"X-Service-Secret": "a word of sixteen letters"},
        timeout=5,
    ).raise_for_status()
    site.run("supervisorctl", "start", "one:*")

    def refusal() -> dict | None:  # until its babysitter answers, that is the finding
        finding = everything(doctor(site, status=None)).get("babysitter.one")
        return finding if finding and "http://127.0.0.1:9 on elsewhere" in finding["what"] else None

    finding = wait_until(refusal, timeout=30, description="the refusal")
    assert finding
    assert "config/one.toml" in finding["first"]
    fix(site, finding, status=None)  # of the two names, it may have one only
    wait_until_healthy(site)


# Model not found.


def test_a_misspelt_model_is_found_with_the_closest_name(ailing):
    [finding] = doctor(ailing, "--model", "M")
    assert finding["key"] == "model.M"
    assert "did you mean m?" in finding["first"]
    assert '"id":"m"' in fix(ailing, finding).replace(" ", "")


def test_a_model_of_a_file_that_was_not_applied(ailing):
    ailing.mock("two", "fresh")
    [cause] = doctor(ailing, "--model", "fresh")
    assert cause["key"] == "files.stale"
    assert "config/two.toml" in cause["why"] or "two.conf: new" in cause["why"]
    assert "model.fresh" in everything([cause])
    fix(ailing, cause)
    assert ailing.chat("fresh").ok
    wait_until_healthy(ailing, "--model", "fresh")


def test_an_alias_of_a_model_that_no_instance_serves(ailing):
    config = ailing.root / "config" / "svc.toml"
    config.write_text(config.read_text() + '[router.aliases]\ngpt = "n"\n')
    ailing.svc("up")
    assert ailing.chat("gpt").status_code == 503
    [finding] = doctor(ailing)
    assert finding["key"] == "alias.gpt"
    config.write_text(config.read_text().replace('"n"', '"m"'))
    fix(ailing, finding)
    wait_until(lambda: ailing.chat("gpt").ok, description="the alias")
    wait_until_healthy(ailing)


def test_a_lora_adapter_that_one_instance_lacks(site):
    port, _ = [site.mock(name, heartbeat_interval=1) for name in ("one", "two")]
    site.svc("up")
    adapter = json.dumps({"lora_name": "sql", "lora_path": "/adapters/sql"})
    site.svc("engine", "POST", "/v1/load_lora_adapter", "--instance", "one", "--json", adapter)
    (finding,) = wait_until(lambda: doctor(site, status=None), description="the finding")
    assert (finding["key"], finding["what"]) == ("adapter.sql", "LoRA adapter 'sql': is not loaded at two-server")
    fix(site, finding)
    wait_until_healthy(site)
    site.svc("services", "add", "plain", "localhost", str(port))  # has the adapter too, and no babysitter
    wait_until_healthy(site)


@pytest.mark.long
def test_a_model_that_the_babysitter_cannot_fetch(site):
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    right = toml.read_text()
    port = int(right.partition("port = ")[2].split()[0])
    wrong = f"command = {sys.executable!r}\nargs = ['-m', 'http.server', '--bind', '127.0.0.1', '{port}']"
    site.toml("one", port, wrong, heartbeat_interval=1)
    site.svc("up", "--timeout", "3", status=1)
    cause = wait_until(
        lambda: next((f for f in doctor(site) if f["key"] == "models.one"), None), description="the server's age"
    )
    assert "404" in cause["why"]
    assert "/v1/models" in cause["why"]
    toml.write_text(right)
    fix(site, cause)
    wait_until_healthy(site)


# Requests that fail.


def failing(site: Site) -> bool:
    return any(service["failing"] for service in http.get(f"{site.router}/services", timeout=5).json()["services"])


def test_an_instance_that_answers_500_and_a_request_that_killed_instances(site):
    site = Site(site.root, 'failing_instances = "mark"\n')
    for name in ("one", "two"):
        site.mock(name, heartbeat_interval=1)
    site.svc("up")
    http.post(f"{site.service('one-server')['url']}/mock/behave", json={"fail_status": 500}, timeout=5)
    wait_until(lambda: site.chat().status_code == 500 and failing(site), description="the mark", interval=0)
    status = json.loads(site.svc("status", "--json", status=1)[0])
    assert {row["name"]: row["health"] for row in status["programs"]}["one:server"] == "failing"
    [problem] = status["problems"]
    assert problem.startswith("one:server: failing: most of its last answers are 500")
    [cause] = doctor(site)
    assert (cause["key"], cause["severity"]) == ("failing.one-server", PROBLEM)
    event = {"kind": "poisoned", "service": "two-server", "source": "router", "message": "by request r-1 of key team"}
    http.post(f"{site.registry}/events", json={"events": [event]}, timeout=5).raise_for_status()
    poisoned = everything(doctor(site))["poisoned"]
    assert "by request r-1 of key team" in poisoned["why"]
    assert "r-1" in fix(site, poisoned)
    fix(site, cause)
    wait_until(lambda: not failing(site), timeout=45, description="the restarted instance")


# What else is in the way.


def test_processes_that_outlived_an_earlier_supervisord(ailing):
    left = subprocess.Popen(
        [str(BIN / "python3") if (BIN / "python3").exists() else sys.executable, "-c", "import signal; signal.pause()"],
        env={
            "SUPERVISOR_SERVER_URL": f"unix://{ailing.root}/var/supervisor.sock",
            "SUPERVISOR_GROUP_NAME": "one",
            "SUPERVISOR_PROCESS_NAME": "server",
        },
    )
    try:
        [finding] = doctor(ailing)
        assert finding["key"] == "leftovers"
        assert str(left.pid) in finding["fix"]
        fix(ailing, finding)
        assert left.wait(timeout=10) == -signal.SIGKILL
    finally:
        left.kill()
        left.wait()
    wait_until_healthy(ailing)


def test_a_supervisord_that_is_not_svc_s(site):
    """With a socket where ours would be, and without our extension."""
    site.mock("one")
    site.svc("render")
    (site.root / "var").mkdir(exist_ok=True)
    conf = site.root / "other.conf"
    conf.write_text(
        f"[supervisord]\npidfile={site.root}/var/supervisord.pid\nlogfile={site.root}/other.log\n"
        f"[unix_http_server]\nfile={site.root}/var/supervisor.sock\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    site.run("supervisord", "-c", str(conf))
    wait_until(lambda: (site.root / "var" / "supervisor.sock").exists(), description="the socket")
    findings = doctor(site)
    assert findings[0]["key"] == "supervisord.foreign"
    fix(site, findings[0])
    wait_until_healthy(site)


@pytest.mark.long
def test_a_registry_that_is_degraded_or_on_another_machine(site):
    """An instance host whose registry is unreachable."""
    gone = free_port_pair()
    config = site.root / "config" / "svc.toml"
    config.write_text(f'[launch]\ncomponents = "babysitter"\nregistry_url = "http://127.0.0.1:{gone}"\n')
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    cause = wait_until(
        lambda: next((f for f in doctor(site) if f["key"] == "registry.silent"), None), description="a diagnosis"
    )
    assert "connection refused" in cause["why"]
    wait_until(lambda: "babysitter.one" in everything(doctor(site)), description="the babysitter to notice")
    assert [f["key"] for f in doctor(site) if f["severity"] == PROBLEM] == ["registry.silent"]


def test_the_doctor_can_be_interrupted(ailing):
    os.kill(ailing.pid("one:babysitter"), signal.SIGSTOP)
    try:
        process = ailing.start("svc", "doctor")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=1.5)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "Traceback" not in err
    finally:
        os.kill(ailing.pid("one:babysitter"), signal.SIGCONT)
