"""The page with a fake router behind it: any site, any numbers, and a link that can be cut.

`python -m tests.browser.fake_stream 200` serves such a page to look at.
"""

import json
import math
import mimetypes
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from svc.protocol import event, health_state

PAGE = Path(__file__).parents[2] / "svc" / "router" / "page"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class FakeRouter(ThreadingHTTPServer):
    """`states` are those of the instances by name; `key` and `token`, where set, are required."""

    daemon_threads = True

    def __init__(self, size: int = 3, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.names = [f"node{i}-server" for i in range(1, size + 1)]
        self.states = dict.fromkeys(self.names, "healthy")
        self.host_of = {name: f"gpu{1 + i // 8}" for i, name in enumerate(self.names)}
        self.models = {"qwen": self.names[::2], "llama-3": self.names[1::2]}
        self.events = [self.happened(1, "registered", name) for name in self.names[:3]]
        self.key = self.token = ""
        self.usage: dict[str, Any] | None = None  # the answer to GET /usage; None: the router counts no usage
        self.keys_unapplied = False
        self.registry = {"url": "http://localhost:18000", "answers": True, "age": 2.0, "source": "registry"}
        self.slow: Event | None = None  # a drain is answered once it is set
        self.operated: list[str] = []  # what was drained and undrained
        self.every = 1.0
        self.version = 0  # of the message `site`
        self.busy: set[str] = set()  # if any: after the first tick, only their numbers are sent
        self.pace = 0.05  # seconds between tokens
        self.script: list[Any] | None = None  # what a stream has instead, without [DONE] at its end
        self.failed = {"503": 4, "timeout": 1}  # of the second model: ever, and lately
        self.failing = {"503": 2}
        self.minute = {"requests": 700, "failed": 2}
        self.failed_at: dict[str, int] = {}  # of these requests, by instance
        self.astray: dict[str, int] = {}  # errors for no model that is here
        self.unknown: dict[str, int] = {}  # failed requests by the name of a model that no instance has
        self.idle: set[str] = set()  # models without requests
        self.place = {"name": "prod", "host": "ops1"}
        self.on_demand: set[str] = set()  # instances that can be put to sleep
        self.offer: dict[str, Any] = {"possible": True, "now": True, "reason": ""}  # about waking any instance
        self.gpus: dict[str, dict[str, Any]] | None = None  # host -> its GPUs; None: no message about GPUs
        self.fates: dict[str, dict[str, str]] = {}  # of models that are not served
        self.name = "0.1.0"
        self.late = 0.0  # seconds that its clock is behind
        self.silent = Event()  # set: streams stay open and say nothing
        self.cut = Event()  # set: streams end, and no new one is taken
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        Thread(target=self.serve_forever, daemon=True).start()

    def end(self) -> None:
        self.cut.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        pass  # a page that has left

    def become(self, name: str, word: str) -> None:
        self.states[name] = word
        self.version += 1

    def happened(self, number: int, kind: str, service: str, message: str = "") -> dict[str, Any]:
        return event.Event(id=number, time=time.time(), kind=kind, service=service, message=message).to_json()

    def site(self) -> dict[str, Any]:
        return {
            "version": self.name,
            "now": time.time(),
            "every": self.every,
            "drain": True,
            "usage": self.usage is not None,
            "site": self.place,
            "keyed": bool(self.key),
            "keys_unapplied": self.keys_unapplied,
            "router": {"ready": True, "since": time.time() - 4000},
            "registry": self.registry,
            "models": [
                {
                    "name": m,
                    "aliases": ["gpt-4o"] if m == "qwen" else [],
                    "instances": names,
                    "fallback": "qwen" if m == "llama-3" else "",
                    "fate": "served",
                    **self.fates.get(m, {}),
                }
                for m, names in self.models.items()
            ],
            "instances": [self.instance(at, name) for at, name in enumerate(self.names)],
        }

    def instance(self, at: int, name: str) -> dict[str, Any]:
        word, host, port = self.states[name], self.host_of[name], 8100 + at
        return {
            "name": name,
            "host": host,
            "port": port,
            "url": f"http://{host}:{port}",
            "models": [model for model, names in self.models.items() if name in names],
            "state": word,
            "level": health_state.level_of(word),
            "meaning": health_state.HEALTH_STATES[word].meaning,
            "command": f"supervisorctl start {name.removesuffix('-server')}:server" if word == "stopped" else "",
            "drained": word == "drained",
            "on_demand": name in self.on_demand,
            "load_seconds": 38.4 if name in self.on_demand else None,
            "restarts": at % 3 or None,
            "restart_reason": "exit code 1",
        }

    def tick(self) -> dict[str, Any]:
        now = time.time() - self.late
        models, instances = {}, {}
        for at, model in enumerate(self.models):
            failed = {"kinds": {}, "lately": {}, "minute": {"requests": 700, "failed": 0}, "failed_at": {}}
            if at == 1:
                failed = {"kinds": self.failed, "lately": self.failing, "minute": self.minute}
                failed["failed_at"] = self.failed_at
            load = {"in_flight": 0, "waiting": 0} if model in self.idle else {"in_flight": 3, "waiting": at}
            models[model] = {**self.numbers(now, at, model in self.idle), **load, **failed}
        for at, name in enumerate(self.names):
            if self.busy and name not in self.busy:
                continue
            totals = {"ejections": at % 2, "errors_total": at % 5}
            instances[name] = {**self.numbers(now, at), "in_flight": at % 4, **totals}
        requests = sum(numbers["requests"] for numbers in models.values())
        return {
            "time": now,
            "in_flight": 6,
            "waiting": 1,
            "requests": requests,
            "errors": 0.4,
            "retries": 12,
            "resumed": 3,
            "models": models,
            "instances": instances,
            "others": {"kinds": self.astray, "lately": self.astray, "names": self.unknown},
        }

    def numbers(self, now: float, at: int, idle: bool = False) -> dict[str, Any]:
        if idle:
            return {"requests": 0, "errors": 0, "tokens": 0, "first_token": None}
        wave = 1 + math.sin(now / 20 + at) / 2 + math.sin(now / 3 + at * 7) / 6
        return {
            "requests": 12 * wave,
            "errors": max(0.0, wave - 1.3) if at else 0.0,
            "tokens": 410 * wave,
            "first_token": 0.03 * wave,
        }

    def history(self) -> dict[str, Any]:
        now, models = time.time(), {}
        for at, model in enumerate(self.models):
            past = [self.numbers(now - 300 + 2 * i, at, model in self.idle) for i in range(150)]
            models[model] = {name: [point[name] for point in past] for name in past[0]}
        return {"every": 2.0, "end": now, "models": models}


def gpu(index: int, used: float, held: dict[str, float], **more: Any) -> dict[str, Any]:
    """Return a GPU of 80 GB as the router sends it; `used` and `held` are in GB."""
    return {
        "index": index,
        "name": "NVIDIA H100 80GB HBM3",
        "total": 80_000_000_000,
        "used": round(used * 1e9),
        "utilization": 0.53,
        "temperature": 61,
        "power": 412,
        "errors": 0,
        "fault": "",
        "held": {name: round(size * 1e9) for name, size in held.items()},
        "strangers": [],
        **more,
    }


def gpus_of(router: FakeRouter, host: str) -> dict[str, Any]:
    """Return eight GPUs of a host, one for each of its instances."""
    names = [name for name, of in router.host_of.items() if of == host and router.states[name] != "asleep"]
    stranger = {"pid": 4711, "command": "python train.py", "memory": 3_000_000_000}
    gpus = [gpu(at, 7.5 + 9 * at, {name.removesuffix("-server"): 4 + 9 * at}) for at, name in enumerate(names)]
    gpus += [gpu(at, 3.4, {}, utilization=0.0, power=71, strangers=[stranger]) for at in range(len(names), 8)]
    return {"problem": "", "gpus": gpus}


class Handler(BaseHTTPRequestHandler):
    server: FakeRouter

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/ui/stream":
            return self._stream() if self._keyed() else self._error(401, "You didn't provide an API key.")
        if path == "/usage":
            if self.server.usage is None or self.headers["X-Operator-Token"] != self.server.token:
                return self._error(403, "only operators may see this")
            return self._answer(200, json.dumps(self.server.usage).encode(), "application/json")
        if path.startswith("/ui/wake/"):
            return self._answer(200, json.dumps(self.server.offer).encode(), "application/json")
        file = PAGE / (path.removeprefix("/ui").strip("/") or "index.html")
        if not path.startswith("/ui") or not file.is_file():
            return self._error(404, "There is no such page")
        return self._answer(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/chat/completions":
            return self._complete(json.loads(body))
        if self.server.slow is not None:
            self.server.slow.wait()
        parts = self.path.strip("/").split("/")
        verb, name = (parts[2], parts[1]) if parts[0] == "instances" else parts[1:]
        if self.headers["X-Operator-Token"] != self.server.token:
            return self._error(403, "This token may not drain")
        self.server.operated.append(f"{verb} {name}")
        self.server.become(name, {"drain": "drained", "sleep": "asleep"}.get(verb, "healthy"))
        return self._answer(200, b"{}", "application/json")

    def _keyed(self) -> bool:
        return self.server.key in ("", self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _stream(self) -> None:
        router, sent_version, last = self.server, -1, 0
        gpus: dict[str, Any] | None = None
        while router.silent.is_set() and not router.cut.is_set():
            router.cut.wait(0.1)
        if router.cut.is_set():
            self._error(503, "The router is draining")
            return
        self._head(200, "text/event-stream")
        first = True
        while not router.cut.is_set():
            if sent_version != router.version:
                sent_version = router.version
                self._event("site", router.site())
            if first:
                self._event("history", router.history())
            new = [e for e in router.events if e["id"] > last]
            if new or first:
                self._event("events", {"events": new})
            last, first = max([last, *(e["id"] for e in new)]), False
            self._event("tick", router.tick())
            if router.gpus is not None and router.gpus != gpus:
                changed = {host: entry for host, entry in router.gpus.items() if (gpus or {}).get(host) != entry}
                self._event("gpus", {"hosts": list(router.gpus), "changed": changed})
                gpus = dict(router.gpus)
            router.cut.wait(router.every)
            while router.silent.is_set() and not router.cut.is_set():
                router.cut.wait(0.1)

    def _complete(self, asked: dict[str, Any]) -> None:
        if self.server.script is not None:
            self._head(200, "text/event-stream")
            for data in self.server.script:
                self._event("", data)
            return
        if asked["model"] not in self.server.models:
            self._error(503, f"No healthy services available for model '{asked['model']}'")
            return
        if not asked.get("stream"):
            said = {"choices": [{"message": {"content": "Hello, <b>world</b>"}}], "usage": {"completion_tokens": 4}}
            self._answer(200, json.dumps(said).encode(), "application/json")
            return
        self._head(200, "text/event-stream")
        for word in ["Hello", ", ", "<b>world", "</b>"]:
            self._event("", {"choices": [{"delta": {"content": word}}]})
            self.server.cut.wait(self.server.pace)
        self._event("", {"choices": [], "usage": {"completion_tokens": 4}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, name: str, data: Any) -> None:
        line = f"event: {name}\n" if name else ""
        self.wfile.write(f"{line}data: {json.dumps(data)}\n\n".encode())

    def _error(self, status: int, message: str) -> None:
        self._answer(status, json.dumps({"error": {"message": message}}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", CSP)
        self.send_header("X-Served-By", "node1-server")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


if __name__ == "__main__":
    served = FakeRouter(int(sys.argv[1]) if sys.argv[1:] else 12, 8123)
    served.states |= {served.names[0]: "ejected", served.names[-1]: "drained", served.names[2]: "asleep"}
    served.on_demand = set(served.names[::2])
    served.gpus = {host: gpus_of(served, host) for host in dict.fromkeys(served.host_of.values())}
    served.gpus["gpu1"]["gpus"][2]["errors"] = 3
    print(served.url + "/ui")
    Event().wait()
