"""A value that is made up for a JSON Schema is valid for it."""

import jsonschema
import pytest

from svc.base.errors import BadRequest
from svc.mock.json_schema import example

TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["children"],
}
LIST = {
    "$defs": {
        "Item": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "null"}]}}}
    },
    "$ref": "#/$defs/Item",
}
SCHEMAS = [
    {},
    {"type": "string"},
    {"type": ["null", "string"]},
    {"type": "null"},
    {"type": "boolean"},
    {"const": 7},
    {"enum": ["red", "green"]},
    {"type": "integer", "minimum": 3},
    {"type": "integer", "maximum": -3},
    {"type": "number", "exclusiveMinimum": 0.5},
    {"type": "string", "format": "date-time"},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "array", "maxItems": 0},
    {"properties": {"a": {"type": "integer"}, "b": {"type": "object"}}, "required": ["a", "unlisted"]},
    {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
    TREE,
    LIST,
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_made_up_value_is_valid(schema):
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        example(schema, "hello")
    )


def test_strings_are_the_text_and_optional_properties_are_left_out():
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    assert example({"type": "object", "properties": properties}, "hello") == {"city": "hello", "days": 0}
    assert example({"properties": properties, "required": ["city"]}, "hello") == {"city": "hello"}
    assert example({"anyOf": [{"type": "null"}, {"type": "string"}]}, "hello") == "hello"


@pytest.mark.parametrize(
    "schema",
    [{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"$ref": "#"}, {"required": 5, "type": "object"}],
)
def test_a_schema_without_an_end_is_a_bad_request(schema):
    with pytest.raises(BadRequest, match="cannot make up a value"):
        example(schema, "hello")
