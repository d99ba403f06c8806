"""The APIs of OpenAI and Anthropic: return the reply of a well-behaved backend to a request."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from svc.base.errors import BadRequest, NotFound
from svc.mock import anthropic_messages, completions, media, request_bodies, responses, retrieval
from svc.mock.behaviour import FinalMessage
from svc.mock.completions import CompletionFormat
from svc.mock.continuation import continue_answer, continue_prompt
from svc.mock.generation import (
    GeneratedAnswer,
    GeneratedChoice,
    PrefixCache,
    call_function,
    count_tokens,
    echo_prompt,
    follow_format,
    usage,
)
from svc.mock.json_schema import example
from svc.mock.lora_adapters import LoadAdapterBody, LoraAdapters, UnloadAdapterBody
from svc.mock.request_reply import Methods, MockRequest, Reply, dispatch, json_reply, text_reply
from svc.mock.stored_responses import StoredResponses


class BackendApi:
    """The handlers of all paths.

    `clock` returns Unix seconds. `tokens` is the number of tokens in each answer; None: at most NATURAL_TOKENS.
    `final_message` says what the mock does with a request whose last message is the assistant's.
    """

    def __init__(self, name: str, models: tuple[str, ...], clock: Callable[[], float]) -> None:
        self.name = name
        self.models = models
        self.clock = clock
        self.tokens: int | None = None
        self.final_message: FinalMessage = "continue"
        self._started = int(clock())
        self._answers = 0
        self._prefix_cache = PrefixCache()
        self._adapters = LoraAdapters(models[0])
        self._stored = StoredResponses()

    def reply(self, request: MockRequest) -> Reply:
        """Return the reply to a request for any path; raise SvcError if a backend would refuse the request."""
        if request.path.startswith("/echo/"):
            return self.echo(request)
        if request.path.startswith("/v1/models/"):
            return dispatch({request.path: {"GET": BackendApi.model}}, self, request)
        if request.path.startswith(RESPONSES_PREFIX):
            return self.stored_response(request)
        if request.path == "/echo":
            return self.echo(request)
        return dispatch(ROUTES, self, request)

    def chat(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.ChatBody)
        choices = self._choices(body, [body.last_user_text()], self._begun_answer(body))
        return self._complete(body, completions.CHAT, [body.transcript()], choices)

    def completions(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.CompletionBody)
        prompts = request_bodies.prompt_texts(body.prompt)
        return self._complete(body, completions.TEXT, prompts, self._choices(body, prompts))

    def embeddings(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.EmbeddingBody)
        model = self._model_name(body.model)
        texts = request_bodies.prompt_texts(body.input)
        return json_reply(retrieval.embeddings_body(texts, model, body.dimensions, body.encoding_format), tokens=1)

    def responses(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.ResponsesBody)
        if body.previous_response_id is not None:
            self._stored.get(body.previous_response_id)
        conversation = body.conversation()
        choices = self._choices(body, [conversation.last_user_text()])
        answer = self._answer(body, "resp-", [conversation.transcript()], choices)
        in_background = bool(body.background)
        if body.keeps_response or in_background:
            stored = responses.response(answer) | {"background": in_background}
            self._stored.add(stored, responses.input_items(answer.id, body))
        if in_background and not body.stream:
            return Reply(body=responses.body(answer, in_background))
        return _answer_reply(body, answer, responses.body, responses.events)

    def stored_response(self, request: MockRequest) -> Reply:
        """Return, delete or cancel the response whose id is in the path, or list its input items."""
        response_id, _, action = request.path.removeprefix(RESPONSES_PREFIX).partition("/")
        act = STORED_RESPONSE_ACTIONS.get((request.method, action))
        if act is None:
            raise NotFound(f"no such path: {request.method} {request.path}")
        return json_reply(act(self._stored, response_id))

    def messages(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.MessagesBody)
        choices = self._choices(body, [body.last_user_text()], self._begun_answer(body))
        answer = self._answer(body, "msg-", [body.transcript()], choices)
        return _answer_reply(body, answer, anthropic_messages.body, anthropic_messages.events)

    def count_tokens(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.CountBody)
        self._model_name(body.model)
        return json_reply({"input_tokens": count_tokens(body.transcript())})

    def rerank(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.RerankBody)
        documents = [document if isinstance(document, str) else document.text for document in body.documents]
        answer_id, model = self._next_id("rerank-"), self._model_name(body.model)
        return json_reply(retrieval.rerank_body(answer_id, model, body.query, documents, body.top_n), tokens=1)

    def transcriptions(self, request: MockRequest) -> Reply:
        fields, file = media.parse_form(request.headers.get("content-type", ""), request.body)
        self._model_name(fields.get("model"))
        text = f"{self.name} heard: {file.filename}, {len(file.read())} bytes"
        if fields.get("response_format") == "text":
            return text_reply(text, tokens=1)
        return json_reply({"text": text}, tokens=1)

    def speech(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.SpeechBody)
        self._model_name(body.model)
        return Reply(body=media.speech(body.input), tokens=1, content_type="audio/wav")

    def images(self, request: MockRequest) -> Reply:
        body = request_bodies.parse(request.body, request_bodies.ImageBody)
        self._model_name(body.model)
        return json_reply(media.images(int(self.clock()), body.prompt, body.n or 1), tokens=1)

    def health(self, request: MockRequest) -> Reply:
        return json_reply({"status": "ok", "name": self.name})

    def list_models(self, request: MockRequest) -> Reply:
        adapters = [self._model_object(fields["id"]) | fields for fields in self._adapters.model_fields()]
        return json_reply({"object": "list", "data": [*map(self._model_object, self.models), *adapters]})

    def load_adapter(self, request: MockRequest) -> Reply:
        return text_reply(self._adapters.load(request_bodies.parse(request.body, LoadAdapterBody)))

    def unload_adapter(self, request: MockRequest) -> Reply:
        return text_reply(self._adapters.unload(request_bodies.parse(request.body, UnloadAdapterBody)))

    def model(self, request: MockRequest) -> Reply:
        return json_reply(self._model_object(self._model_name(request.path.removeprefix("/v1/models/"))))

    def echo(self, request: MockRequest) -> Reply:
        """Return the request itself, so that tests can see the changes that a proxy made."""
        fields = {
            "method": request.method,
            "target": request.connection.target,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "body_length": len(request.body),
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
        }
        return json_reply(fields)

    def _complete(
        self,
        body: request_bodies.GenerationBody,
        completion_format: CompletionFormat,
        inputs: list[str],
        choices: list[GeneratedChoice],
    ) -> Reply:
        """Return the reply to a request for (chat) completions.

        The tokens of `inputs` are counted as those of the prompt.
        """
        answer = self._answer(body, completion_format.id_prefix, inputs, choices)
        return _answer_reply(
            body,
            answer,
            lambda answer: completions.body(answer, completion_format),
            lambda answer: completions.events(answer, completion_format, body.wants_usage),
        )

    def _begun_answer(self, body: request_bodies.ConversationBody) -> str:
        """Return the text of the final assistant message that the answer continues; "" if it continues none."""
        begun = body.begun_answer()
        if begun and self.final_message == "refuse":
            raise BadRequest("cannot continue an assistant message: the conversation must end with a user message")
        return begun if self.final_message == "continue" else ""

    def _choices(
        self, body: request_bodies.GenerationBody, prompts: list[str], begun: str = ""
    ) -> list[GeneratedChoice]:
        return [self._choice(body, prompt, begun) for prompt in prompts for _ in range(body.n or 1)]

    def _choice(self, body: request_bodies.GenerationBody, prompt: str, begun: str) -> GeneratedChoice:
        """Return the answer that the request requires: a function call, a JSON document or a text."""
        if (call := body.scripted_call()) is not None:
            return call_function(call.name, call.arguments, call.number)
        if (function := body.required_function()) is not None:
            return call_function(function.name, function.arguments(prompt))
        if (schema := body.answer_schema()) is not None:
            value = example(schema, f"{self.name} heard: {prompt}")
            return follow_format(msgspec.json.encode(value).decode(), body.limit)
        length = self.tokens, body.limit, body.stops
        if begun:
            return continue_answer(self.name, prompt, begun, *length)
        rest = continue_prompt(self.name, prompt, *length) if isinstance(body, request_bodies.CompletionBody) else None
        return rest or echo_prompt(self.name, prompt, *length)

    def _answer(
        self, body: request_bodies.GenerationBody, id_prefix: str, inputs: list[str], choices: list[GeneratedChoice]
    ) -> GeneratedAnswer:
        return GeneratedAnswer(
            model=self._model_name(body.model),
            id=self._next_id(id_prefix),
            created=int(self.clock()),
            choices=choices,
            usage=usage(
                prompt=sum(map(count_tokens, inputs)),
                completion=sum(len(choice.tokens) for choice in choices),
                cached=sum(map(self._prefix_cache.read, inputs)),
            ),
        )

    def _next_id(self, prefix: str) -> str:
        self._answers += 1
        return f"{prefix}{self.name}-{self._answers}"

    def _model_object(self, model: str) -> dict[str, object]:
        return {"id": model, "object": "model", "created": self._started, "owned_by": self.name}

    def _model_name(self, model: str | None) -> str:
        """Return the requested model, or the first model if the request contains none, as llama-server does.

        Raise NotFound for an unknown model.
        """
        if model is None:
            return self.models[0]
        if model not in self.models and model not in self._adapters:
            raise NotFound(f"The model `{model}` does not exist.", param="model", code="model_not_found")
        return model


def _answer_reply(
    body: request_bodies.GenerationBody,
    answer: GeneratedAnswer,
    write_body: Callable[[GeneratedAnswer], bytes],
    write_events: Callable[[GeneratedAnswer], Iterable[tuple[bool, bytes]]],
) -> Reply:
    """Return the answer as `write_events` writes it if the request wants a stream, else as `write_body` writes it.

    A stream and a whole body take the same time to generate.
    """
    if body.stream:
        return Reply(events=write_events(answer))
    return Reply(body=write_body(answer), tokens=max(1, *(len(choice.tokens) for choice in answer.choices)))


RESPONSES_PREFIX = "/v1/responses/"
STORED_RESPONSE_ACTIONS: dict[tuple[str, str], Callable[[StoredResponses, str], dict[str, Any]]] = {
    ("GET", ""): StoredResponses.get,
    ("DELETE", ""): StoredResponses.delete,
    ("POST", "cancel"): StoredResponses.cancel,
    ("GET", "input_items"): StoredResponses.input_items,
}
ROUTES: dict[str, Methods[BackendApi]] = {
    "/health": {"GET": BackendApi.health},
    "/models": {"GET": BackendApi.list_models},
    "/v1/models": {"GET": BackendApi.list_models},
    "/chat/completions": {"POST": BackendApi.chat},
    "/v1/chat/completions": {"POST": BackendApi.chat},
    "/v1/completions": {"POST": BackendApi.completions},
    "/v1/embeddings": {"POST": BackendApi.embeddings},
    "/v1/responses": {"POST": BackendApi.responses},
    anthropic_messages.PATH: {"POST": BackendApi.messages},
    f"{anthropic_messages.PATH}/count_tokens": {"POST": BackendApi.count_tokens},
    "/rerank": {"POST": BackendApi.rerank},
    "/v1/rerank": {"POST": BackendApi.rerank},
    "/v1/audio/transcriptions": {"POST": BackendApi.transcriptions},
    "/v1/audio/speech": {"POST": BackendApi.speech},
    "/v1/images/generations": {"POST": BackendApi.images},
    "/v1/load_lora_adapter": {"POST": BackendApi.load_adapter},
    "/v1/unload_lora_adapter": {"POST": BackendApi.unload_adapter},
}
