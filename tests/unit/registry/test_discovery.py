from svc.registry.discovery import target_groups
from tests.unit.registry.services import service

REGISTRY = "http://gpu1:18000/"
INSTANCE = {"type": "openai-api", "models": ["a", "b"]}


def labels(target):
    return target_groups([target], REGISTRY)[1]["labels"]


def test_targets_are_the_registry_every_instance_and_babysitter():
    groups = target_groups(
        [service("q", port=8101, metadata={"type": "babysitter"}), service("q-server", metadata=INSTANCE)], REGISTRY
    )
    assert [(g["targets"], g["labels"]["job"], g["labels"]["name"]) for g in groups] == [
        (["gpu1:18000"], "svc-registry", "registry"),
        (["10.0.0.7:8101"], "svc-babysitter", "q"),
        (["10.0.0.7:8100"], "svc-instance", "q-server"),
    ]


def test_labels_describe_the_target():
    assert labels(service("q-server", metadata=INSTANCE, drained=True)) == {
        "__scheme__": "http",
        "__metrics_path__": "/metrics",
        "job": "svc-instance",
        "name": "q-server",
        "models": "a,b",
        "__meta_svc_status": "running",
        "__meta_svc_healthy": "false",
        "__meta_svc_drained": "true",
        "__meta_svc_type": "openai-api",
        "__meta_svc_hostname": "gpu7",
    }


def test_urls_with_tls_a_path_or_an_ipv6_address():
    assert labels(service(url="https://models.example/base"))["__scheme__"] == "https"
    assert labels(service(url="https://models.example/base"))["__metrics_path__"] == "/base/metrics"
    assert target_groups([service(url="https://models.example")], REGISTRY)[1]["targets"] == ["models.example:443"]
    assert target_groups([service(url="http://[::1]:8100")], REGISTRY)[1]["targets"] == ["[::1]:8100"]


def test_metadata_sets_the_metrics_path_or_disables_scraping():
    assert labels(service(metadata={"metrics_path": "/prom"}))["__metrics_path__"] == "/prom"
    assert labels(service(metadata={"metrics_path": 7}))["__metrics_path__"] == "/metrics"
    assert len(target_groups([service(metadata={"metrics_path": ""})], REGISTRY)) == 1


def test_label_values_are_text_whatever_was_registered():
    odd = service(metadata={"type": ["x"], "models": ["a", 7, None]})
    assert all(isinstance(value, str) for value in labels(odd).values())
    assert labels(odd)["models"] == "a"
