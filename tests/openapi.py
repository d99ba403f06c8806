"""Checks of an OpenAPI document: its references resolve, and answers are as it describes them."""

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema


def routes(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return method and path of every described route."""
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def unresolved(document: dict[str, Any]) -> list[str]:
    """Return the references that lead to nothing."""
    return [reference for reference in _references(document) if _resolve(document, reference) is None]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    for item in value if isinstance(value, list) else []:
        yield from _references(item)


def _resolve(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        node = node.get(step) if isinstance(node, dict) else None
    return node


def check(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """Fail unless the answer of Flask's test client has a described status, type and body, without other fields."""
    responses = document["paths"][path][method.lower()]["responses"]
    response = responses[str(answer.status_code)]
    response = _resolve(document, response["$ref"]) if "$ref" in response else response
    if not response.get("content"):
        return
    media = response["content"][answer.mimetype]
    if answer.mimetype == "application/json":
        schema = {**media["schema"], "components": _closed(document["components"])}
        jsonschema.Draft202012Validator(schema).validate(answer.get_json())


def _closed(components: dict[str, Any]) -> dict[str, Any]:
    """Return the components without leave to have more fields."""

    def close(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("additionalProperties") is True:
                value["additionalProperties"] = False
            value = list(value.values())
        for item in value if isinstance(value, list) else []:
            close(item)

    closed = copy.deepcopy(components)
    close(closed)
    return closed
