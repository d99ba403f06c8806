"""The imports run one way: command line -> programs -> leaves; and pure files import nothing that acts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import svc

ROOT = Path(svc.__file__).parent
PROGRAMS = ("registry", "router", "babysitter")

# What each part may import of svc beside itself and the leaves. `cli` may import anything.
LEAVES = {
    "address",
    "errors",
    "event",
    "state",
    "settings",
    "site",
    "instance",
    "client",
    "watch",
    "probe",
    "loop",
    "log",
    "gunicorn_log",
    "metrics",
    "web",
    "prctl",
    "forks",
    "fetch",
    "dial",
    "networks",
    "service_url",
    "listen",
    "perimeter",
    "keyfile",
    "engine_key",
    "upstream_keys",
    "secret_file",
    "version",
    "printable",
    "private_files",
    "shim_variables",
    "together",
    "mask",
}
ALLOWED = {
    "registry": LEAVES,
    "router": LEAVES,
    "babysitter": LEAVES | {"spec", "supervision"},
    "spec": LEAVES,
    "supervision": LEAVES,
    "mock": LEAVES,
    "llama": LEAVES,
}
ACTING = {
    "os",
    "io",
    "socket",
    "select",
    "subprocess",
    "threading",
    "random",
    "secrets",
    "time",
    "datetime",
    "pathlib",
    "requests",
    "gevent",
    "gunicorn",
    "flask",
    "supervisor",
    "sqlite3",
    "redis",
    "tempfile",
    "shutil",
    "signal",
}
PURE = {
    "router/ask.py",
    "router/form.py",
    "router/json_body.py",
    "router/names.py",
    "router/paths.py",
    "router/retry.py",
    "router/request.py",
    "router/poison.py",
    "router/table.py",
    "router/policy.py",
    "router/breaker.py",
    "router/events.py",
    "router/tokens.py",
    "router/cors.py",
    "router/isolation.py",
    "router/own_answers.py",
    "router/gate.py",
    "registry/lease.py",
    "registry/owner.py",
    "registry/discovery.py",
    "babysitter/lifecycle.py",
    "babysitter/verdict.py",
    "babysitter/model_metadata.py",
    "supervision/restarts.py",
    "perimeter/connections.py",
    "perimeter/hosts.py",
    "perimeter/browsers.py",
    "management/select.py",
    "management/report.py",
    "mock/adapters.py",
    "readiness.py",
    "printable.py",
    "shim_variables.py",
    "mask.py",
    "event.py",
    "state.py",
    "router/ui/rates.py",
    "rollout/scene.py",
    "rollout/steps.py",
    "rollout/targets.py",
    "rollout/order.py",
    "doctor/facts.py",
    "doctor/findings.py",
    "doctor/symptoms.py",
    "doctor/tell.py",
    *(f"doctor/checks/{path.name}" for path in (ROOT / "doctor" / "checks").glob("*.py")),
}


def modules() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))


def imports(module: str) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(module: str) -> str:
    """The part of svc that a file (or a dotted name without `svc.`) belongs to."""
    return module.removesuffix(".py").replace("/", ".").split(".")[0]


@pytest.mark.parametrize("module", modules())
def test_no_arrow_is_forbidden(module):
    own = part(module)
    allowed = LEAVES if own in LEAVES else ALLOWED.get(own)
    if allowed is None:
        return  # what an operator types may know every part
    used = {part(name.removeprefix("svc.")) for name in imports(module) if name.startswith("svc.")}
    assert used - {own} <= allowed, f"{module} must not import {sorted(used - {own} - allowed)}"


def test_leaves_import_no_program():
    for module in modules():
        if part(module) in LEAVES:
            used = {part(name.removeprefix("svc.")) for name in imports(module) if name.startswith("svc.")}
            assert not used & {*PROGRAMS, "spec", "supervision", "cli"}, module


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_file_imports_nothing_that_acts(module):
    assert not {name.split(".")[0] for name in imports(module)} & ACTING, module


def test_the_registry_router_and_babysitter_do_not_know_each_other():
    for module in modules():
        if part(module) in PROGRAMS:
            used = {part(name.removeprefix("svc.")) for name in imports(module) if name.startswith("svc.")}
            assert not used & (set(PROGRAMS) - {part(module)}), module
