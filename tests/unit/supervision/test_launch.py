import os
import socket
import subprocess
import sys

import pytest

from svc.supervision.launch import (
    Refused,
    environment,
    find_command,
    holder_of,
    is_taken,
    key_variable,
    main,
    refuse_taken_port,
)
from tests.waiting import free_port

SHIM_ENVIRONMENT = {
    "PATH": "/opt/svc/bin:/usr/bin",
    "SVC_PATH": "/usr/bin",
    "SVC_MAX_RESTARTS": "3",
    "SVC_RESTART_DELAY": "5",
    "SVC_SUPERVISOR_PID": "7",
    "SVC_REGION": "north",
    "SUPERVISOR_GROUP_NAME": "qwen",
}


def test_an_instance_gets_the_operators_path_and_no_private_variables():
    assert environment(SHIM_ENVIRONMENT, "/opt/svc/bin") == {
        "PATH": "/usr/bin:/opt/svc/bin",
        "SVC_REGION": "north",
        "SUPERVISOR_GROUP_NAME": "qwen",
    }


def test_svc_programs_get_the_whole_environment():
    assert environment(SHIM_ENVIRONMENT, "/opt/svc/bin", own=True) == SHIM_ENVIRONMENT


def test_variables_of_env_win_and_arrive_unchanged():
    odd = [("PATH", "/only/here"), ("MOTTO", 'a "b" %d;\n#é'), ("EMPTY", "")]
    variables = environment(SHIM_ENVIRONMENT, "/opt/svc/bin", odd)
    assert {k: variables[k] for k, _ in odd} == dict(odd)


def test_an_instance_sees_only_its_gpus_and_not_what_the_extension_reads():
    variables = {"SVC_GPUS": "2,0", "SVC_GPU_COUNT": "2", "SVC_GPU_MEMORY": "38", "CUDA_VISIBLE_DEVICES": "7"}
    variables |= {"SVC_ON_DEMAND": "1", "SVC_KEEP": "1", "SVC_MIN_AWAKE": "60", "SVC_SLEEP": "vllm"}
    assert environment(variables, "/bin") == {
        "PATH": f"{os.defpath}:/bin",
        "SVC_GPUS": "2,0",
        "SVC_GPU_MEMORY": "38",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order of nvidia-smi
        "CUDA_VISIBLE_DEVICES": "2,0",
        "HIP_VISIBLE_DEVICES": "2,0",
        "ASCEND_RT_VISIBLE_DEVICES": "2,0",
        "MACA_VISIBLE_DEVICES": "2,0",
    }


def test_the_toml_may_choose_other_visible_devices():
    variables = {"SVC_GPUS": "1", "SVC_ENV_CUDA_VISIBLE_DEVICES": "MIG-1", "SVC_ENV_CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    seen = environment(variables, "/bin")
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["CUDA_DEVICE_ORDER"]) == ("MIG-1", "FASTEST_FIRST")
    assert seen["HIP_VISIBLE_DEVICES"] == "1"


def test_without_known_gpus_the_visible_devices_stay():
    assert environment({"CUDA_VISIBLE_DEVICES": "7", "SVC_GPU_COUNT": "2"}, "/bin")["CUDA_VISIBLE_DEVICES"] == "7"
    assert "HIP_VISIBLE_DEVICES" not in environment({}, "/bin")


def test_the_api_key_in_a_file_becomes_a_variable(tmp_path):
    (tmp_path / "q.key").write_text("the-key\n")
    assert key_variable("VLLM_API_KEY", f"{tmp_path}/conf.d/../q.key") == [("VLLM_API_KEY", "the-key")]
    assert key_variable(None, None) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, r"q\.key: cannot read the file that \[backend\] api_key_file names: No such file"),
        ("", r"q\.key: is empty; write the engine's API key into it"),
    ],
)
def test_an_instance_does_not_start_without_its_api_key(tmp_path, text, problem):
    if text is not None:
        (tmp_path / "q.key").write_text(text)
    with pytest.raises(Refused, match=problem):
        key_variable("VLLM_API_KEY", str(tmp_path / "q.key"))


def test_a_command_is_found_as_a_shell_finds_it(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").touch(mode=0o755)
    (tmp_path / "first" / "tool").chmod(0o644)
    path = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert find_command("tool", path) == str(tmp_path / "second" / "tool")
    assert find_command(str(tmp_path / "second" / "tool"), []) == str(tmp_path / "second" / "tool")


def test_a_missing_command_is_reported_with_the_path(tmp_path):
    with pytest.raises(Refused, match=f"cannot run 'tool': not found in PATH .{tmp_path}.") as refused:
        find_command("tool", [str(tmp_path)])
    assert refused.value.code == 127


def test_a_file_that_is_not_executable_is_reported(tmp_path):
    (tmp_path / "tool").touch(mode=0o644)
    with pytest.raises(Refused, match=r"tool is not executable; chmod \+x it") as refused:
        find_command("tool", [str(tmp_path)])
    assert refused.value.code == 127


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "127.0.0.3"])
def test_a_listener_on_any_address_takes_the_port_and_is_named(address):
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert is_taken(port)
        assert holder_of(port)[0] == os.getpid()
        with pytest.raises(Refused, match=rf"port {port} is taken by .* \(pid {os.getpid()}\)") as refused:
            refuse_taken_port(port, timeout_seconds=0)
        assert refused.value.code == 1


def test_a_connection_in_time_wait_takes_no_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first waits
        assert client.recv(1) == b""
        client.close()
    assert not is_taken(port)


def test_a_free_port_is_free():
    assert not is_taken(free_port())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--"],
        ["--port", "8100"],
        ["--env", "no-pair", "--", "true"],
        ["--port", "x", "--", "true"],
        ["--port", "70000", "--", "true"],
    ],
)
def test_wrong_options_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as wrong:
        main(arguments)
    assert wrong.value.code == 2
    assert "svc launch" in capsys.readouterr().err


def run(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "svc.supervision.launch", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("SVC_")}, **environ},
    )


def test_the_command_gets_every_argument_unchanged():
    odd = ["--", "a b", "%d", "é\n;#", ""]
    done = run(
        "--env",
        "MOTTO=x=y %",
        "--",
        sys.executable,
        "-c",
        "import os, sys; print([sys.argv[1:], os.environ['MOTTO']])",
        *odd,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr([odd, "x=y %"])


def test_the_command_does_not_inherit_ignored_signals():
    done = run("--", "grep", "SigIgn", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) & (1 << 12) == 0  # SIGPIPE


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        (["no-such-tool"], 127, "svc launch: cannot run 'no-such-tool': not found in PATH"),
        (["./no-such-tool"], 127, "svc launch: cannot run './no-such-tool': no such file"),
    ],
)
def test_one_line_names_the_missing_command(command, code, line):
    done = run("--", *command)
    assert done.returncode == code
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_a_script_without_its_interpreter_is_reported(tmp_path):
    script = tmp_path / "tool"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = run("--", str(script))
    assert done.returncode == 127
    assert "its interpreter (first line) is missing" in done.stderr


def test_a_taken_port_is_one_line_and_exit_1():
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = run("--port", str(server.getsockname()[1]), "--", "true")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"(pid {os.getpid()})" in done.stderr


def test_it_does_not_start_without_the_supervisord_that_forked_it():
    done = run("--", "true", SVC_SUPERVISOR_PID="1")
    assert done.returncode == 1
    assert "supervisord is gone" in done.stderr


def test_the_shim_imports_little():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "svc.supervision.launch", "--", "true"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"click", "gevent", "msgspec", "jinja2", "requests", "flask", "xmlrpc.client", "dataclasses"}
