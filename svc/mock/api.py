"""OpenAI's paths: a request in, the reply of a well-behaved backend out."""

import hashlib
from collections.abc import Callable
from typing import Any

from svc.errors import NotFound
from svc.mock import answer, ask, embedding
from svc.mock.exchange import Methods, Reply, Request, dispatch, encode, json
from svc.mock.usage import PrefixCache, count, usage


class Api:
    """`clock` gives Unix seconds; `tokens` the length of an answer, None for a natural one."""

    def __init__(self, name: str, models: tuple[str, ...], clock: Callable[[], float]) -> None:
        self.name = name
        self.models = models
        self.clock = clock
        self.tokens: int | None = None
        self._born = int(clock())
        self._answers = 0
        self._prefixes = PrefixCache()

    def reply(self, request: Request) -> Reply:
        if request.path.startswith("/echo/"):
            return self.echo(request)
        if request.path.startswith("/v1/models/"):
            return dispatch({request.path: {"GET": Api.model}}, self, request)
        if request.path == "/echo":
            return self.echo(request)
        return dispatch(ROUTES, self, request)

    def chat(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Chat)
        return self._generate(asked, answer.CHAT, [asked.transcript()], [asked.question()])

    def completions(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Completion)
        prompts = ask.texts(asked.prompt)
        return self._generate(asked, answer.TEXT, prompts, prompts)

    def embeddings(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Embedding)
        model = self._known(asked.model)
        made = embedding.body(ask.texts(asked.input), model, asked.dimensions, asked.encoding_format)
        return Reply(body=encode(made), tokens=1)

    def health(self, request: Request) -> Reply:
        return json({"status": "ok", "name": self.name})

    def list_models(self, request: Request) -> Reply:
        return json({"object": "list", "data": [self._described(model) for model in self.models]})

    def model(self, request: Request) -> Reply:
        return json(self._described(self._known(request.path.removeprefix("/v1/models/"))))

    def echo(self, request: Request) -> Reply:
        """The request itself, for tests of what a relay makes of one."""
        told = {
            "method": request.method,
            "target": request.wire.target,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "body_length": len(request.body),
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
        }
        return json(told)

    def _generate(self, asked: ask.Generation, dialect: answer.Dialect, read: list[str], heard: list[str]) -> Reply:
        """`read` is what the model reads of each prompt, `heard` what its answer repeats."""
        made = self._answer(asked, dialect, read, heard)
        if asked.stream:
            return Reply(events=answer.events(made, dialect, asked.wants_usage))
        return Reply(body=answer.body(made, dialect), tokens=max(1, *(len(c.tokens) for c in made.choices)))

    def _answer(
        self, asked: ask.Generation, dialect: answer.Dialect, read: list[str], heard: list[str]
    ) -> answer.Answer:
        model = self._known(asked.model)
        choices = [
            answer.say(self.name, prompt, self.tokens, asked.limit, asked.stops)
            for prompt in heard
            for _ in range(asked.n or 1)
        ]
        self._answers += 1
        return answer.Answer(
            id=f"{dialect.prefix}{self.name}-{self._answers}",
            created=int(self.clock()),
            model=model,
            choices=choices,
            usage=usage(
                prompt=sum(map(count, read)),
                completion=sum(len(choice.tokens) for choice in choices),
                cached=sum(map(self._prefixes.read, read)),
            ),
        )

    def _described(self, model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": self._born, "owned_by": self.name}

    def _known(self, model: str | None) -> str:
        """The model asked for; without one, the first, as llama-server does."""
        if model is None:
            return self.models[0]
        if model not in self.models:
            raise NotFound(f"The model `{model}` does not exist.", param="model", code="model_not_found")
        return model


ROUTES: dict[str, Methods[Api]] = {
    "/health": {"GET": Api.health},
    "/models": {"GET": Api.list_models},
    "/v1/models": {"GET": Api.list_models},
    "/chat/completions": {"POST": Api.chat},
    "/v1/chat/completions": {"POST": Api.chat},
    "/v1/completions": {"POST": Api.completions},
    "/v1/embeddings": {"POST": Api.embeddings},
}
