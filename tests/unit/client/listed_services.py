"""Services as a registry lists them."""

NOW = 1_700_000_000.0


def service(name: str = "qwen-server", **more) -> dict:
    metadata = {"type": "openai-api", "models": ["m"], **more.pop("metadata", {})}
    fields = {
        "name": name,
        "host": "10.0.0.7",
        "port": 8100,
        "hostname": "gpu7",
        "url": "http://10.0.0.7:8100",
        "status": "running",
        "timestamp": "t",
        "last_heartbeat": NOW - 75,
        "lease_seconds": 90.0,
        "health_status": "healthy",
        "is_healthy": True,
        "drained": False,
        "weight": 1,
        "metadata": metadata,
    }
    return {**fields, **more}


BABYSITTER = service("qwen", metadata={"type": "babysitter", "server": "qwen-server"})
