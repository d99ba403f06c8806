"""The scenarios: what the clients request of a router."""

import json
from dataclasses import dataclass

MODEL = "model-a"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`connections` clients, each of which sends one request after the other for `seconds`, or sends only `once`.

    With `burst`, all clients send at the same moment, again and again, each time when every answer has ended: on their
    kept connections ("warm"), or all on new ones ("cold"). `running` streams, an event each 20 ms, go on meanwhile.
    `body` is the bytes of the prompt. With `events` the answer is a stream of so many, `gap` milliseconds apart.
    """

    name: str
    description: str
    connections: int
    seconds: float = 4
    body: int = 200
    events: int = 0
    gap: int = 0
    once: bool = False
    burst: str = ""
    running: int = 0

    @property
    def files(self) -> int:
        """Return the open files that a router needs: a connection on each side of a request, and some of its own."""
        return 2 * (self.connections + self.running) + 1000

    def request(self, host: str) -> bytes:
        """Return the request of every client. Its prompt, which every router forwards unchanged, orders the answer."""
        order = f"stream {self.events} events, {self.gap} ms apart; " if self.events else ""
        content = order + "x" * (self.body - len(order))
        payload = {
            "model": MODEL,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.events or 16,
            "stream": bool(self.events),
        }
        body = json.dumps(payload).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Accept: */*\r\nUser-Agent: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("one", "one client, short requests", connections=1, seconds=3),
        Scenario("small", "32 clients, short requests", connections=32),
        Scenario("large", "32 clients, prompts of 64 KB", connections=32, body=64 << 10),
        Scenario("huge", "8 clients, prompts of 1 MB", connections=8, body=1 << 20),
        Scenario("stream", "128 clients, 100 events 10 ms apart", connections=128, events=100, gap=10),
        Scenario("crowd", "1,000 clients, 100 events 50 ms apart", connections=1000, seconds=6, events=100, gap=50),
        Scenario("burst", "128 streams start at once, 20 events 10 ms apart", 128, events=20, gap=10, burst="warm"),
        Scenario(
            "burst-cold", "128 new connections with a stream each start at once", 128, events=20, gap=10, burst="cold"
        ),
        Scenario(
            "surge", "1,000 streams start at once, 20 events 50 ms apart", 1000, 6, events=20, gap=50, burst="warm"
        ),
        Scenario(
            "surge-cold",
            "1,000 new connections with a stream each start at once",
            1000,
            6,
            events=20,
            gap=50,
            burst="cold",
        ),
        Scenario(
            "join", "8 streams start at once beside 300 running ones", 8, events=5, gap=10, burst="warm", running=300
        ),
        Scenario(
            "join-cold",
            "8 new connections with a stream each beside 300 running ones",
            8,
            events=5,
            gap=10,
            burst="cold",
            running=300,
        ),
        Scenario(
            "flood", "5,000 streams at once, 30 events 1 s apart", connections=5000, events=30, gap=1000, once=True
        ),
    )
}
