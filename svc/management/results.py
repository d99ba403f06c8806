"""Format the results of a management request as text and as JSON. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.base.errors import message_of
from svc.management.engine_request import EngineResponse, ManagementRequest
from svc.management.engines import InstanceResult
from svc.protocol.event import one_line

MAX_LINE_CHARACTERS = 160


def lines(results: Sequence[InstanceResult], verbose: bool) -> Iterator[str]:
    """Yield a line for each instance (with `verbose`, also its whole response), then the current model lists."""
    width = max(len(result.instance.name) for result in results)
    for result in results:
        yield f"{result.instance.name:{width}}  {_verdict(result)}".rstrip()
        if verbose:
            yield from (f"  {line}" for line in result.response.text().splitlines())
    groups = _by_models(results)
    for models, names in groups.items():
        place = f" at {', '.join(names)}" if len(groups) > 1 else ""
        yield f"models now{place}: {', '.join(models)}"
    for result in results:
        if result.models and result.models.problem:
            yield f"{result.instance.name}: {result.models.problem}"


def _verdict(result: InstanceResult) -> str:
    if result.skipped:
        return f"skipped  {result.skipped}"
    if not result.response.status:
        return f"failed  {result.response.reason}"
    return f"{result.response.status}  {_first_line(result.response)}"


def _first_line(response: EngineResponse) -> str:
    """Return the message of an error response, else the first line of the response."""
    text = message_of(response.json()) or next(iter(response.text().strip().splitlines()), "")
    line = one_line(text)
    return line if len(line) <= MAX_LINE_CHARACTERS else f"{line[:MAX_LINE_CHARACTERS]}..."


def to_json(results: Sequence[InstanceResult]) -> dict[str, Any]:
    return {"ok": all(result.ok for result in results), "instances": [_to_json(result) for result in results]}


def _to_json(result: InstanceResult) -> dict[str, Any]:
    response = result.response
    body = response.json()
    return {
        "name": result.instance.name,
        "url": result.instance.url,
        "ok": result.ok,
        "status": response.status or None,
        "reason": result.skipped or response.reason or None,
        "body": response.text() if body is None else body,
        "models": result.models and result.models.models,
        "note": (result.models and result.models.problem) or None,
    }


def failure(request: ManagementRequest, results: Sequence[InstanceResult]) -> str:
    """Return the error message for the instances that failed, with the command that repeats the request for them."""
    done = [result.instance.name for result in results if result.ok]
    failed = [result.instance.name for result in results if not result.ok]
    text = f"{len(failed)} of {len(results)} instances did not answer 2xx: {', '.join(failed)}"
    if any(result.response.status in (401, 403) for result in results):
        text += (
            "; an engine that wants its API key needs it in upstream_keys_file ([router] of config/svc.toml), "
            "or in --upstream-keys-file FILE"
        )
    unknown = [result.instance.name for result in results if result.response.status == 404]
    if unknown:
        text += f"; 404 at {', '.join(unknown)}: no such path there, or not what the request names"
    failed = [name for name in failed if name not in unknown]  # repeating the request would not cure a 404
    if not request.changes or not failed:
        return text
    options = [option for name in failed for option in ("--instance", name)]
    command = shlex.join(["svc", "engine", request.method, request.path, *options])
    body = "" if request.body is None else " and the same --json"
    text += f"; when the cause is gone, finish with `{command}`{body}"
    if done:
        text += f", or undo it at {', '.join(done)}: until then the answer depends on the instance that a request gets"
    return text


def _by_models(results: Sequence[InstanceResult]) -> Mapping[tuple[str, ...], list[str]]:
    """Return a dict from each distinct model list to the names of the instances with this list."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        if result.models and result.models.models is not None:
            groups.setdefault(tuple(result.models.models), []).append(result.instance.name)
    return groups
