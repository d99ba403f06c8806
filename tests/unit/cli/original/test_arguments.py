"""The command lines of the original's launch scripts and documents, for registry and router."""

import pytest

from svc.cli.original.arguments import registry_arguments, router_arguments


@pytest.mark.parametrize(
    ("line", "environ", "expected"),
    [
        ("--port 18000", {}, "registry --port 18000"),
        ("--port=18000", {}, "registry --port=18000"),
        (
            "--port 18000 --health-interval 30 --health-timeout 5 --cleanup-interval 60",
            {},
            "registry --port 18000 --health-interval 30 --health-timeout 5 --cleanup-interval 60",
        ),
        ("", {}, "registry --port 8081"),
        ("", {"REGISTRY_PORT": "19000"}, "registry"),
        ("--help", {}, "registry --help --port 8081"),
        ("--version", {}, "--version"),
    ],
)
def test_the_registrys(line, environ, expected):
    assert registry_arguments(line.split(), environ) == expected.split()


@pytest.mark.parametrize(
    ("line", "environ", "expected"),
    [
        (
            "--router-port 8000 --registry-url http://localhost:18000 --health-interval 30 --health-timeout 5 "
            "--registry-sync-interval 10",
            {},
            "router --router-port 8000 --registry-url http://localhost:18000 --health-interval 30 --health-timeout 5 "
            "--registry-sync-interval 10",
        ),
        (
            "--registry-url http://192.0.2.1:8081 --static-services router_config.json --max-errors 3 "
            "--service-removal-grace-period 60",
            {},
            "router --registry-url http://192.0.2.1:8081 --static-services router_config.json --max-errors 3 "
            "--service-removal-grace-period 60 --router-port 8080",
        ),
        ("", {"ROUTER_PORT": "9000"}, "router"),
        ("--version", {}, "--version"),
    ],
)
def test_the_routers(line, environ, expected):
    assert router_arguments(line.split(), environ) == expected.split()
