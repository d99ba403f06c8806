"""OpenAI's paths, and Anthropic's: a request in, the reply of a well-behaved backend out."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from svc.base.errors import NotFound
from svc.mock import answer, ask, embedding, media, messages, rerank, responses, tool
from svc.mock.adapters import Adapters, LoadRequest, UnloadRequest
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
        self._adapters = Adapters(models[0])

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
        heard, function = asked.question(), asked.forced()
        if function is None:
            return self._generate(asked, answer.CHAT, [asked.transcript()], [heard])
        called = answer.call(function.name, tool.arguments(function, heard))
        return _written(asked, answer.CHAT, self._answer(asked, "chatcmpl-", [asked.transcript()], [called]))

    def completions(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Completion)
        prompts = ask.texts(asked.prompt)
        return self._generate(asked, answer.TEXT, prompts, prompts)

    def embeddings(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Embedding)
        model = self._known(asked.model)
        made = embedding.body(ask.texts(asked.input), model, asked.dimensions, asked.encoding_format)
        return Reply(body=encode(made), tokens=1)

    def responses(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Responses)
        said = asked.conversation()
        made = self._answer(asked, "resp-", [said.transcript()], self._said(asked, [said.question()]))
        return _told(asked, made, responses.body, responses.events)

    def messages(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Messages)
        made = self._answer(asked, "msg-", [asked.transcript()], self._said(asked, [asked.question()]))
        return _told(asked, made, messages.body, messages.events)

    def rerank(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Rerank)
        documents = [d if isinstance(d, str) else d.text for d in asked.documents]
        made = rerank.body(self._id("rerank-"), self._known(asked.model), asked.query, documents, asked.top_n)
        return Reply(body=encode(made), tokens=1)

    def transcriptions(self, request: Request) -> Reply:
        fields, file = media.form(request.headers.get("content-type", ""), request.body)
        self._known(fields.get("model"))
        text = f"{self.name} heard: {file.filename}, {len(file.read())} bytes"
        if fields.get("response_format") == "text":
            return Reply(body=text.encode(), tokens=1, kind="text/plain; charset=utf-8")
        return Reply(body=encode({"text": text}), tokens=1)

    def speech(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Speech)
        self._known(asked.model)
        return Reply(body=media.speech(asked.input), tokens=1, kind="audio/wav")

    def images(self, request: Request) -> Reply:
        asked = ask.parse(request.body, ask.Image)
        self._known(asked.model)
        return Reply(body=encode(media.images(int(self.clock()), asked.prompt, asked.n or 1)), tokens=1)

    def health(self, request: Request) -> Reply:
        return json({"status": "ok", "name": self.name})

    def list_models(self, request: Request) -> Reply:
        adapters = [self._described(adapter["id"]) | adapter for adapter in self._adapters.described()]
        return json({"object": "list", "data": [*map(self._described, self.models), *adapters]})

    def load_adapter(self, request: Request) -> Reply:
        return _plain(self._adapters.load(ask.parse(request.body, LoadRequest)))

    def unload_adapter(self, request: Request) -> Reply:
        return _plain(self._adapters.unload(ask.parse(request.body, UnloadRequest)))

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
        made = self._answer(asked, dialect.prefix, read, self._said(asked, heard))
        return _written(asked, dialect, made)

    def _said(self, asked: ask.Generation, heard: list[str]) -> list[answer.Choice]:
        return [
            answer.say(self.name, prompt, self.tokens, asked.limit, asked.stops)
            for prompt in heard
            for _ in range(asked.n or 1)
        ]

    def _answer(
        self, asked: ask.Generation, prefix: str, read: list[str], choices: list[answer.Choice]
    ) -> answer.Answer:
        return answer.Answer(
            model=self._known(asked.model),
            id=self._id(prefix),
            created=int(self.clock()),
            choices=choices,
            usage=usage(
                prompt=sum(map(count, read)),
                completion=sum(len(choice.tokens) for choice in choices),
                cached=sum(map(self._prefixes.read, read)),
            ),
        )

    def _id(self, prefix: str) -> str:
        self._answers += 1
        return f"{prefix}{self.name}-{self._answers}"

    def _described(self, model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": self._born, "owned_by": self.name}

    def _known(self, model: str | None) -> str:
        """The model asked for; without one, the first, as llama-server does."""
        if model is None:
            return self.models[0]
        if model not in self.models and model not in self._adapters:
            raise NotFound(f"The model `{model}` does not exist.", param="model", code="model_not_found")
        return model


def _plain(text: str) -> Reply:
    return Reply(body=text.encode(), kind="text/plain; charset=utf-8")


def _written(asked: ask.Generation, dialect: answer.Dialect, made: answer.Answer) -> Reply:
    return _told(
        asked,
        made,
        lambda made: answer.body(made, dialect),
        lambda made: answer.events(made, dialect, asked.wants_usage),
    )


def _told(
    asked: ask.Generation,
    made: answer.Answer,
    body: Callable[[answer.Answer], bytes],
    events: Callable[[answer.Answer], Iterable[tuple[bool, bytes]]],
) -> Reply:
    """As events, or in one piece that takes as long."""
    if asked.stream:
        return Reply(events=events(made))
    return Reply(body=body(made), tokens=max(1, *(len(choice.tokens) for choice in made.choices)))


ROUTES: dict[str, Methods[Api]] = {
    "/health": {"GET": Api.health},
    "/models": {"GET": Api.list_models},
    "/v1/models": {"GET": Api.list_models},
    "/chat/completions": {"POST": Api.chat},
    "/v1/chat/completions": {"POST": Api.chat},
    "/v1/completions": {"POST": Api.completions},
    "/v1/embeddings": {"POST": Api.embeddings},
    "/v1/responses": {"POST": Api.responses},
    messages.PATH: {"POST": Api.messages},
    "/rerank": {"POST": Api.rerank},
    "/v1/rerank": {"POST": Api.rerank},
    "/v1/audio/transcriptions": {"POST": Api.transcriptions},
    "/v1/audio/speech": {"POST": Api.speech},
    "/v1/images/generations": {"POST": Api.images},
    "/v1/load_lora_adapter": {"POST": Api.load_adapter},
    "/v1/unload_lora_adapter": {"POST": Api.unload_adapter},
}
