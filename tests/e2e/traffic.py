"""A steady load of requests while a test changes the site."""

import threading
from types import TracebackType

import requests

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
CLIENTS = 4
# About 70 requests a second of four clients: without a pause, they would take a core from the commands under test.
PAUSE_SECONDS = 0.05
HEAVY_PAUSE_SECONDS = 0.005  # for load tests, and for moments that are short


class Traffic:
    """Send chats of a few clients until the block ends, each on a kept connection or on a new one for each request."""

    def __init__(
        self,
        router: str,
        model: str = "m",
        kept: bool = True,
        clients: int = CLIENTS,
        pause_seconds: float = PAUSE_SECONDS,
        **body: object,
    ) -> None:
        self.url = f"{router}/v1/chat/completions"
        self.body = {"model": model, **CHAT, **body}
        self.kept = kept
        self._pause_seconds = pause_seconds
        self.answered = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _client(self) -> None:
        session = requests.Session()
        session.trust_env = False
        while not self._over.is_set():
            try:
                answer = session.post(self.url, json=self.body, timeout=60)
                if answer.status_code == 200 and self._whole(answer):
                    self.answered += 1
                else:
                    self.failures.append(f"{answer.status_code} {answer.text}")
            except (requests.RequestException, ValueError, KeyError) as failure:
                self.failures.append(repr(failure))
            if not self.kept:
                session.close()
            self._over.wait(self._pause_seconds)

    def _whole(self, answer: requests.Response) -> bool:
        if not self.body.get("stream"):
            return bool(answer.json()["choices"][0]["message"]["content"])
        events = read_stream(answer)
        return events[-1] == "[DONE]" and not any('"error"' in event for event in events)


def read_stream(answer: requests.Response) -> list[str]:
    """Return the data of every event of a stream."""
    return [line[len("data: ") :] for line in answer.iter_lines(decode_unicode=True) if line.startswith("data: ")]
