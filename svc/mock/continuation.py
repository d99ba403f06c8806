"""Continue an answer that another server has begun: the text goes on exactly where it ended. Pure."""

from collections.abc import Iterator

from svc.mock.generation import NAME_END, GeneratedChoice, echo_prompt


def continue_answer(
    name: str, prompt: str, begun: str, tokens: int | None, limit: int | None, stops: list[str]
) -> GeneratedChoice:
    """Return at most `limit` tokens that follow the text `begun` in the answer to the prompt.

    If a mock with another name has begun the answer, `begun` begins with that name. If `begun` is not the beginning of
    a mock's answer, all of it counts as the name.
    """
    for author in (name, begun.partition(NAME_END)[0], begun):
        rest = _rest(echo_prompt(author, prompt, tokens, None, stops), begun, limit)
        if rest is not None:
            return rest
    return GeneratedChoice([], "stop")  # `begun` is longer than the whole answer


def continue_prompt(
    name: str, text: str, tokens: int | None, limit: int | None, stops: list[str]
) -> GeneratedChoice | None:
    """Return the rest of an answer if its beginning is the end of `text`, a prompt of /v1/completions; else None.

    The answer is recognized by the mock's own `name`, because nothing separates it from the text before it. `tokens`,
    `limit` and `stops` are those of `echo_prompt`.
    """
    for start in _possible_starts(name, text):
        rest = _rest(echo_prompt(name, text[:start], tokens, None, stops), text[start:], limit)
        if rest is not None:
            return rest
    return None


def _rest(whole: GeneratedChoice, begun: str, limit: int | None) -> GeneratedChoice | None:
    """Return the part of a choice after `begun`; None if the choice does not begin with this text."""
    if not whole.text.startswith(begun):
        return None
    tokens = list(_tokens_after(whole.tokens, len(begun)))
    if limit is not None and len(tokens) > limit:
        return GeneratedChoice(tokens[:limit], "length")
    return GeneratedChoice(tokens, whole.finish, stop=whole.stop)


def _tokens_after(tokens: list[str], length: int) -> Iterator[str]:
    """Yield the tokens without their first `length` characters, which may end in the middle of a token."""
    for token in tokens:
        if length < len(token):
            yield token[length:]
        length = max(0, length - len(token))


def _possible_starts(name: str, text: str) -> Iterator[int]:
    start = text.find(name + NAME_END, 1)
    while start > 0:
        yield start
        start = text.find(name + NAME_END, start + 1)
    if text.endswith(name) and len(text) > len(name):
        yield len(text) - len(name)
