"""OpenAPI documents, /openapi.json: each route with its parameters, its responses and its errors.

The three servers describe their routes as Operations; `document` and `operation_object` make the document from them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from svc.base import version

Schema = dict[str, Any]
JSON_TYPE = "application/json"
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIMESTAMP: Schema = {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class Operation:
    """The description of one route in the document.

    `response` is the name of a schema, or the media types of a text response. `errors` are the status codes of this
    route beyond those that every route with the same access may return. `unavailable` describes a 503 whose body is no
    error object: the response's description, and the name of its schema.
    """

    summary: str
    response: str | tuple[str, ...]
    status: int = 200
    request: str = ""
    request_required: bool = True
    errors: tuple[int, ...] = ()
    unavailable: tuple[str, str] | None = None
    query: Mapping[str, tuple[Schema, str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    operation_id: str = ""  # the function's name in generated clients; "": the server's default name
    description: str = ""  # description of the response; "" stands for "Done"


@dataclass(frozen=True, slots=True)
class ErrorResponses:
    """The error responses of a server: for each status code, the name and the description of the response."""

    by_status: Mapping[int, tuple[str, str]]
    schema: str = "Error"

    def objects(self) -> Schema:
        return {
            name: {"description": text, "content": json_content(self.schema)} for name, text in self.by_status.values()
        }

    def reference(self, status: int) -> Schema:
        return {"$ref": f"#/components/responses/{self.by_status[status][0]}"}


def document(
    title: str,
    operations: Iterable[tuple[str, str, Schema]],
    schemas: Schema,
    errors: ErrorResponses,
    security_schemes: Schema,
    description: str = "",
) -> Schema:
    """Return the OpenAPI document of a server. `operations` has method, path and description of each route."""
    paths: Schema = {}
    for method, path, described in operations:
        paths.setdefault(path, {})[method.lower()] = {"operationId": operation_id(method, path), **described}
    info = {"title": title, "version": version.number(), **({"description": description} if description else {})}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": schemas, "responses": errors.objects(), "securitySchemes": security_schemes},
    }


def operation_object(
    operation: Operation,
    errors: ErrorResponses,
    more_errors: Iterable[int] = (),
    path_parameters: Iterable[Schema] = (),
    security: list[Schema] | None = None,
) -> Schema:
    """Return the OpenAPI object of one route. `more_errors` are status codes in addition to the operation's own."""
    statuses = sorted({*operation.errors, *more_errors})
    responses = {str(operation.status): _response(operation)}
    responses |= {str(status): errors.reference(status) for status in statuses}
    if operation.unavailable:
        text, schema = operation.unavailable
        responses["503"] = {"description": text, "content": json_content(schema)}
    described: Schema = {"summary": operation.summary, "responses": responses}
    parameters = [*path_parameters, *map(_query_parameter, operation.query.items())]
    if parameters:
        described["parameters"] = parameters
    if operation.request:
        described["requestBody"] = {"required": operation.request_required, "content": json_content(operation.request)}
    if security is not None:
        described["security"] = security
    return described


def ref(name: str) -> Schema:
    """Return a JSON reference to the schema `name` of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed_object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with exactly these properties; all but the `optional` ones are required."""
    required = [key for key in properties if key not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def open_object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that may get more properties in later versions."""
    return {**closed_object(properties, optional), "additionalProperties": True}


def nullable(schema: Schema) -> Schema:
    """Return the schema extended to allow null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def json_content(schema: str) -> Schema:
    return {JSON_TYPE: {"schema": ref(schema)}}


def path_template(path: str) -> str:
    """Return Flask's path as OpenAPI writes it: `/v1/models/<id:model>` is `/v1/models/{model}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def operation_id(method: str, path: str) -> str:
    """Return the name of a route's function in generated clients: `get_v1_models_model` for /v1/models/{model}."""
    return re.sub(r"\W", "_", method + re.sub(r"[{}]", "", path)).lower()


def _query_parameter(parameter: tuple[str, tuple[Schema, str]]) -> Schema:
    name, (schema, text) = parameter
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _response(operation: Operation) -> Schema:
    response: Schema = {"description": operation.description or "Done"}
    if isinstance(operation.response, str):
        response["content"] = json_content(operation.response)
    elif operation.response:
        response["content"] = {
            media: {"schema": {"type": "object"} if media == JSON_TYPE else TEXT} for media in operation.response
        }
    if operation.headers:
        response["headers"] = {key: {"description": text, "schema": TEXT} for key, text in operation.headers.items()}
    return response


PROBLEM: Schema = closed_object(
    {
        "message": TEXT,
        "type": TEXT,
        "param": {"type": ["string", "null"], "description": "the field that is wrong"},
        "code": TEXT,
    }
)
ERROR_SCHEMAS: Schema = {"Problem": PROBLEM, "Error": closed_object({"error": ref("Problem")})}
