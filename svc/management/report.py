"""What a management request has come to, for people and for programs. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.base.errors import message_of
from svc.management.run import Result
from svc.management.send import Outcome, Request
from svc.protocol.event import plain

MAX_LINE_CHARACTERS = 160


def lines(results: Sequence[Result], verbose: bool) -> Iterator[str]:
    """One line for each instance, with --verbose followed by the whole answer; then the models."""
    width = max(len(result.target.name) for result in results)
    for result in results:
        yield f"{result.target.name:{width}}  {_verdict(result)}".rstrip()
        if verbose:
            yield from (f"  {line}" for line in result.outcome.text().splitlines())
    groups = _by_models(results)
    for models, names in groups.items():
        place = f" at {', '.join(names)}" if len(groups) > 1 else ""
        yield f"models now{place}: {', '.join(models)}"
    for result in results:
        if result.models and result.models.problem:
            yield f"{result.target.name}: {result.models.problem}"


def _verdict(result: Result) -> str:
    if result.skipped:
        return f"skipped  {result.skipped}"
    if not result.outcome.status:
        return f"failed  {result.outcome.reason}"
    return f"{result.outcome.status}  {_first_line(result.outcome)}"


def _first_line(outcome: Outcome) -> str:
    """Return the message of an error, else the first line of the answer."""
    text = message_of(outcome.json()) or next(iter(outcome.text().strip().splitlines()), "")
    line = plain(text)
    return line if len(line) <= MAX_LINE_CHARACTERS else f"{line[:MAX_LINE_CHARACTERS]}..."


def to_json(results: Sequence[Result]) -> dict[str, Any]:
    return {"ok": all(result.ok for result in results), "instances": [_to_json(result) for result in results]}


def _to_json(result: Result) -> dict[str, Any]:
    outcome = result.outcome
    body = outcome.json()
    return {
        "name": result.target.name,
        "url": result.target.url,
        "ok": result.ok,
        "status": outcome.status or None,
        "reason": result.skipped or outcome.reason or None,
        "body": outcome.text() if body is None else body,
        "models": result.models and result.models.models,
        "note": (result.models and result.models.problem) or None,
    }


def failure(request: Request, results: Sequence[Result]) -> str:
    """Return what did not succeed, and how to finish it."""
    done = [result.target.name for result in results if result.ok]
    failed = [result.target.name for result in results if not result.ok]
    text = f"{len(failed)} of {len(results)} instances did not answer 2xx: {', '.join(failed)}"
    if any(result.outcome.status in (401, 403) for result in results):
        text += (
            "; an engine that wants its API key needs it in upstream_keys_file ([router] of config/svc.toml), "
            "or in --upstream-keys-file FILE"
        )
    unknown = [result.target.name for result in results if result.outcome.status == 404]
    if unknown:
        text += f"; 404 at {', '.join(unknown)}: no such path there, or not what the request names"
    failed = [name for name in failed if name not in unknown]  # to repeat a request does not cure a 404
    if not request.changes or not failed:
        return text
    words = ["svc", "engine", request.method, request.path, *(w for name in failed for w in ("--instance", name))]
    body = "" if request.body is None else " and the same --json"
    text += f"; when the cause is gone, finish with `{shlex.join(words)}`{body}"
    if done:
        text += f", or undo it at {', '.join(done)}: until then the answer depends on the instance that a request gets"
    return text


def _by_models(results: Sequence[Result]) -> Mapping[tuple[str, ...], list[str]]:
    """Return the names of the instances that list the same models, by these models."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        if result.models and result.models.models is not None:
            groups.setdefault(tuple(result.models.models), []).append(result.target.name)
    return groups
