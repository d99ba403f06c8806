"""Stand-ins for the original's three programs. They send and answer what exchanges.json records of the real ones.

What matters of the originals: the registry keeps its services in memory only, sends no revision, and has empty bodies
for errors. The babysitter registers its instance once, never again, and does not deregister. The router polls
`/services?healthy=true` and checks each instance at port + 1.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

Json = dict[str, Any]
Answer = tuple[int, Json | None]
POLL_INTERVAL_SECONDS = 0.1
HTTP_TIMEOUT_SECONDS = 5
STAMP = "2026-01-01T00:00:00+00:00"


class Server:
    """An HTTP server on loopback. `answer` gets method, path segments, query and JSON body; None as JSON: no body."""

    def __init__(self, port: int) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                segments = url.path.strip("/").split("/")
                status, answer = server.answer(self.command, segments, dict(parse_qsl(url.query)), body)
                data = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._ended = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self._threads = [threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)]

    def answer(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def start(self) -> "Server":
        for thread in self._threads:
            thread.start()
        return self

    def end(self) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join(HTTP_TIMEOUT_SECONDS)

    def repeat(self, work: Callable[[], object], interval: float = POLL_INTERVAL_SECONDS) -> None:
        """Call `work` in a thread until the end, whatever requests fail."""

        def run() -> None:
            while not self._ended.wait(interval):
                with suppress(requests.RequestException):
                    work()

        self._threads.append(threading.Thread(target=run, daemon=True))


class Registry(Server):
    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.services: dict[str, Json] = {}

    def answer(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Answer:
        listed = [self._shown(service) for service in self.services.values()]
        healthy = sum(service["is_healthy"] for service in listed)
        if path == ["health"]:
            counts = {"registered_services": len(listed), "healthy_services": healthy}
            return 200, {"status": "healthy", "registry": "running", **counts, "timestamp": STAMP}
        if path == ["stats"]:
            return 200, {
                "total_services": len(listed),
                "healthy_services": healthy,
                "unhealthy_services": len(listed) - healthy,
                "status_distribution": {s["status"]: 1 for s in listed},
                "host_distribution": {s["host"]: 1 for s in listed},
                "uptime": 1,
                "timestamp": STAMP,
            }
        if path == ["services"]:
            return self._register(json.loads(body)) if method == "POST" else self._list(listed, query)
        name, action = path[1] if path[0] == "services" else "", path[2:]
        if name not in self.services:
            return 404, None
        return self._one(method, name, action, json.loads(body or b"{}"))

    def _list(self, listed: list[Json], query: dict[str, str]) -> Answer:
        if "status" in query:
            listed = [s for s in listed if s["status"] == query["status"]]
        if "healthy" in query:
            listed = [s for s in listed if s["is_healthy"] == (query["healthy"].lower() == "true")]
        return 200, {"services": listed, "total": len(listed), "timestamp": STAMP}

    def _register(self, fields: Json) -> Answer:
        if missing := {"name", "host", "port", "hostname", "url", "status"} - fields.keys():
            return 422, {"missing": sorted(missing)}
        known = ("name", "host", "port", "hostname", "url", "status", "metadata")
        service = {"metadata": {}, **{key: fields[key] for key in known if key in fields}}
        self.services[service["name"]] = {**service, "timestamp": STAMP, "heartbeat": time.time()}
        return 201, {"message": "", "service": self._shown(self.services[service["name"]])}

    def _one(self, method: str, name: str, action: list[str], fields: Json) -> Answer:
        service = self.services[name]
        if action == ["health"]:
            state = {"health_status": "healthy", "is_healthy": True, "last_heartbeat": service["heartbeat"]}
            return 200, {"service": name, **state, "timestamp": STAMP}
        if method == "GET":
            return 200, self._shown(service)
        if method == "DELETE":
            del self.services[name]
            return 200, {"message": ""}
        service.update({key: value for key, value in fields.items() if key in service}, heartbeat=time.time())
        return 200, {"message": "", **({"timestamp": STAMP} if action else {"service": self._shown(service)})}

    @staticmethod
    def _shown(service: Json) -> Json:
        fields = {key: value for key, value in service.items() if key != "heartbeat"}
        healthy = service["status"] == "running" and time.time() - service["heartbeat"] < 120
        return {
            **fields,
            "last_heartbeat": service["heartbeat"],
            "health_status": "unknown",
            "is_healthy": healthy,
        }


class Babysitter(Server):
    """The babysitter of the instance at `port`, which something else runs."""

    def __init__(self, name: str, port: int, registry_url: str) -> None:
        super().__init__(port + 1)
        self.name, self.port, self._registry_url = name, port, registry_url
        self._registered: set[str] = set()
        self.repeat(self._run_round)

    def answer(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Answer:
        address = {"name": self.name, "host": "127.0.0.1", "port": self.port + 1, "url": self._url(self.port + 1)}
        answers: dict[str, Callable[[], Json]] = {
            "health": lambda: {
                "status": "healthy",
                "service": self.name,
                "babysitter": "enhanced",
                "infinilm_server_running": True,
                "infinilm_server_port": self.port,
                "timestamp": 1,
            },
            "models": lambda: requests.get(self._url(self.port) + "/models", timeout=HTTP_TIMEOUT_SECONDS).json(),
            "info": lambda: {
                **address,
                "metadata": {"type": "command", "config_file": "N/A", "babysitter": "enhanced", "started_at": STAMP},
                "infinilm_server_port": self.port,
                "uptime": 1,
            },
        }
        return (200, answers[path[0]]()) if path[0] in answers else (404, None)

    def _run_round(self) -> None:
        for name, port, metadata in ((self.name, self.port + 1, None), (f"{self.name}-server", self.port, {})):
            services = f"{self._registry_url}/services"
            if name in self._registered:  # a 404 changes nothing
                requests.post(f"{services}/{name}/heartbeat", timeout=HTTP_TIMEOUT_SECONDS)
                continue
            own = {"type": "command", "babysitter": "enhanced"} if metadata is None else self._instance_metadata()
            service = {"name": name, "host": "127.0.0.1", "hostname": "127.0.0.1", "port": port}
            service |= {"url": self._url(port), "status": "running", "metadata": own}
            if requests.post(services, json=service, timeout=HTTP_TIMEOUT_SECONDS).ok:
                self._registered.add(name)

    def _instance_metadata(self) -> Json:
        models = requests.get(self._url(self.port) + "/v1/models", timeout=HTTP_TIMEOUT_SECONDS).json()["data"]
        return {
            "type": "openai-api",
            "parent_service": self.name,
            "babysitter": "enhanced",
            "models": [model["id"] for model in models],
            "models_list": models,
        }

    @staticmethod
    def _url(port: int) -> str:
        return f"http://127.0.0.1:{port}"


class Router(Server):
    def __init__(self, port: int, registry_url: str) -> None:
        super().__init__(port)
        self._registry_url = registry_url
        self.services: dict[str, Json] = {}
        self.repeat(self._sync)

    def answer(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Answer:
        if path == ["services"]:
            listed = list(self.services.values())
            return 200, {"services": listed, "total": len(listed), "registry_url": self._registry_url}
        if method != "POST":
            return 404, None
        model = json.loads(body)["model"]
        for service in self.services.values():
            if service["healthy"] and model in service["models"]:
                url = f"{service['url']}/{'/'.join(path)}"
                answer = requests.post(
                    url, body, timeout=HTTP_TIMEOUT_SECONDS, headers={"Content-Type": "application/json"}
                )
                return answer.status_code, answer.json()
        return 503, None

    def _sync(self) -> None:
        listed = requests.get(f"{self._registry_url}/services?healthy=true", timeout=HTTP_TIMEOUT_SECONDS).json()
        for service in listed["services"]:
            if service["metadata"].get("type") != "openai-api":
                continue
            host, port = service["host"], service["port"]
            fields = {key: service[key] for key in ("name", "host", "port", "url", "metadata")}
            check = requests.get(f"http://{host}:{port + 1}/health", timeout=HTTP_TIMEOUT_SECONDS)
            models = service["metadata"].get("models", [])
            self.services[service["name"]] = {**fields, "models": models, "healthy": check.ok}
