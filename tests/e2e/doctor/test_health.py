"""`svc doctor` at a healthy site, and when it is interrupted."""

import os
import resource
import signal
import subprocess

import pytest

from tests.e2e.doctor.diagnosis import doctor


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
