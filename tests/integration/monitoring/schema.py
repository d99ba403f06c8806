"""A JSON schema of Grafana's dashboards, made from the types that Grafana itself generates and publishes:
the package grafana-foundation-sdk, whose version names the Grafana that it is of."""

import ast
import enum
import inspect
import textwrap
import types
import typing
from typing import Any

from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import dashboard, prometheus, stat, statetimeline, table, timeseries

Schema = dict[str, Any]
PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    object: {},
    typing.Any: {},
}
OPTIONS = {"stat": stat, "timeseries": timeseries, "state-timeline": statetimeline, "table": table}


def dashboards() -> Schema:
    """Of a dashboard whose panels are of the kinds above, and whose queries are Prometheus'."""
    defs: dict[str, Schema] = {}
    whole = _schema(dashboard.Dashboard, defs)
    panel, row = _schema(dashboard.Panel, defs), _schema(dashboard.RowPanel, defs)
    kinds = [_kind(name, module, defs) for name, module in OPTIONS.items()]
    is_row = {"properties": {"type": {"const": "row"}}, "required": ["type"]}
    other = {"allOf": [panel, {"properties": {"type": {"enum": list(OPTIONS)}}}, *kinds]}
    defs["Dashboard"]["properties"]["panels"] = {"type": "array", "items": {"if": is_row, "then": row, "else": other}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": defs, **whole}


def _kind(name: str, module: Any, defs: dict[str, Schema]) -> Schema:
    """What a panel of one kind adds: its options, and its part of the fields' defaults."""
    custom = _schema(module.FieldConfig, defs) if hasattr(module, "FieldConfig") else {}
    defaults = {"properties": {"defaults": {"properties": {"custom": custom}}}}
    then = {"properties": {"options": _schema(module.Options, defs), "fieldConfig": defaults}}
    return {"if": {"properties": {"type": {"const": name}}}, "then": then}


def _schema(told: Any, defs: dict[str, Schema]) -> Schema:
    if told in PLAIN:
        return PLAIN[told]
    origin, parts = typing.get_origin(told), typing.get_args(told)
    if origin is typing.Literal:
        return {"enum": list(parts)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(part, defs) for part in parts]}
    if origin is list:
        return {"type": "array", "items": _schema(parts[0], defs)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(parts[1], defs)}
    if told is variants.Dataquery:
        told = prometheus.Dataquery
    if isinstance(told, type) and issubclass(told, enum.Enum):
        return {"enum": [one.value for one in told]}
    return _object(told, defs)


def _object(told: type, defs: dict[str, Schema]) -> Schema:
    name = (
        told.__name__ if told.__module__ == dashboard.__name__ else f"{told.__module__.split('.')[-1]}.{told.__name__}"
    )
    if name not in defs:
        defs[name] = {}  # it may hold itself
        hints = typing.get_type_hints(told)
        properties = {key: _schema(hints[attribute], defs) for key, attribute in _keys(told)}
        defs[name] |= {"type": "object", "properties": properties, "additionalProperties": False}
    return {"$ref": f"#/$defs/{name}"}


def _keys(told: Any) -> typing.Iterator[tuple[str, str]]:
    """The keys of its JSON with the attributes that they stand for, as its to_json has them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(told.to_json)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            pairs = iter([(node.targets[0].slice, node.value)])
        else:
            continue
        for key, value in pairs:
            if isinstance(key, ast.Constant) and isinstance(value, ast.Attribute):
                yield key.value, value.attr
