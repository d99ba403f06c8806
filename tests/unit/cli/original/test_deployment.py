"""JSON files in the form of the original's deployment_configs, as environment variables of a site."""

from svc.cli.original.deployment import (
    HostServices,
    registry_environment,
    registry_url,
    router_environment,
    services_here,
)

ROUTER = {
    "router": {"port": 8090, "registry_url": "http://192.0.2.1:8081", "load_balancing_method": "round_robin"},
    "static_services": {"services": [{"name": "spare", "host": "192.0.2.9", "port": 5001, "metadata": {}}]},
}


def test_the_registry_has_the_files_port_and_intervals():
    config = {"registry": {"port": 8091, "health_interval": 10, "cleanup_interval": 60}, "servers": []}
    assert registry_environment(config, 8081) == {
        "REGISTRY_PORT": "8091",
        "REGISTRY_HEALTH_INTERVAL": "10",
        "REGISTRY_CLEANUP_INTERVAL": "60",
    }
    assert registry_environment({}, 8081) == {"REGISTRY_PORT": "8081"}


def test_the_router_has_the_files_port_registry_and_static_services():
    assert router_environment(ROUTER, 8080, "router_config.json") == {
        "ROUTER_PORT": "8090",
        "ROUTER_REGISTRY_URL": "http://192.0.2.1:8081",
        "ROUTER_STATIC_SERVICES": "router_config.json",
    }
    assert router_environment({"router": {}}, 8080, "router_config.json") == {"ROUTER_PORT": "8080"}
    assert registry_url(ROUTER) == "http://192.0.2.1:8081"
    assert registry_url({"router": {"registry_url": ""}}) == ""


def test_a_file_of_services_is_for_the_host_of_its_first_one():
    files = {
        "server1_services.json": {"services": [{"name": "a", "host": "gpu1", "port": 1}, {"name": "b"}]},
        "server2_services.json": {"services": [{"name": "c", "host": "gpu2", "port": 1}]},
        "test_services.json": {"models": []},
        "odd_services.json": {"services": "none"},
    }
    assert services_here(files, lambda host: host == "gpu1") == [
        HostServices("server1_services.json", "gpu1", ("a", "b"))
    ]
    assert services_here(files, lambda host: host == "gpu3") == []
