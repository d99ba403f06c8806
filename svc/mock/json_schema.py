"""Make up a value that a JSON Schema allows, for structured answers and for the arguments of function calls. Pure."""

from typing import Any

from svc.base.errors import BadRequest

Schema = dict[str, Any]
MAX_DEPTH = 6  # a schema may refer to itself: below this depth, lists are empty and optional values are left out
FORMATS = {
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    "email": "mock@example.org",
    "uri": "http://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Schema, text: str) -> Any:
    """Return a value that the schema allows. Every string in the value is `text`, unless the schema demands another.

    An object has its required properties, or all properties if the schema does not list the required ones. Patterns
    and lengths of strings are ignored. Raise BadRequest for a schema that is broken or refers to itself endlessly.
    """
    try:
        return _example(schema, text, schema, 0)
    except (TypeError, AttributeError, RecursionError):
        raise BadRequest("cannot make up a value for the request's JSON schema: it is broken or has no end") from None


def _example(schema: Any, text: str, root: Schema, depth: int) -> Any:
    schema = _one_branch(schema, root, depth)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    match _type(schema):
        case "object":
            properties = schema.get("properties") or {}
            names = schema.get("required", () if depth > MAX_DEPTH else properties)
            return {name: _example(properties.get(name), text, root, depth + 1) for name in names}
        case "array":
            count = max(schema.get("minItems", 0), 0 if depth > MAX_DEPTH else min(1, schema.get("maxItems", 1)))
            return [_example(schema.get("items"), text, root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
    return FORMATS.get(schema.get("format", ""), text)


def _one_branch(schema: Any, root: Schema, depth: int) -> Schema:
    """Return the schema with its reference followed, and with one branch chosen where it offers several."""
    if not isinstance(schema, dict):  # the schema `true` allows everything, as a missing schema does
        return {}
    if "$ref" in schema:
        return _one_branch(_referred(str(schema["$ref"]), root), root, depth)
    branches = [branch for key in ("anyOf", "oneOf") for branch in schema.get(key) or () if isinstance(branch, dict)]
    if branches:
        wants_null = depth > MAX_DEPTH
        branch = next((b for b in branches if (b.get("type") == "null") == wants_null), branches[0])
        return schema | _one_branch(branch, root, depth)
    for part in schema.get("allOf") or ():
        schema = schema | _one_branch(part, root, depth)
    return schema


def _referred(reference: str, root: Schema) -> Any:
    """Return the schema to which a reference such as `#/$defs/Name` refers; {} if there is none."""
    target: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        target = target.get(name, {})
    return target


def _type(schema: Schema) -> str:
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    return str(kind)


def _number(schema: Schema) -> float:
    """Return a number that the schema allows.

    It is `exclusiveMinimum` + 1 or `minimum`. If the schema has neither, it is 0, or `maximum` if that is below 0.
    """
    if "exclusiveMinimum" in schema:
        above: float = schema["exclusiveMinimum"] + 1
        return above
    minimum: float = schema.get("minimum", min(0, schema.get("maximum", 0)))
    return minimum
