"""The JSON schema of Grafana's dashboards, from the types in the package grafana-foundation-sdk.

Grafana generates and publishes that package; its version contains Grafana's.
"""

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
SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    object: {},
    typing.Any: {},
}
PANEL_TYPES = {"stat": stat, "timeseries": timeseries, "state-timeline": statetimeline, "table": table}


def dashboards() -> Schema:
    """Return the schema of a dashboard with panels of PANEL_TYPES and queries to Prometheus."""
    defs: dict[str, Schema] = {}
    root = _schema(dashboard.Dashboard, defs)
    panel, row = _schema(dashboard.Panel, defs), _schema(dashboard.RowPanel, defs)
    kinds = [_panel_schema(name, module, defs) for name, module in PANEL_TYPES.items()]
    is_row = {"properties": {"type": {"const": "row"}}, "required": ["type"]}
    other = {"allOf": [panel, {"properties": {"type": {"enum": list(PANEL_TYPES)}}}, *kinds]}
    defs["Dashboard"]["properties"]["panels"] = {"type": "array", "items": {"if": is_row, "then": row, "else": other}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": defs, **root}


def _panel_schema(name: str, module: Any, defs: dict[str, Schema]) -> Schema:
    """Return the schema of the options and the field defaults of one type of panel."""
    custom = _schema(module.FieldConfig, defs) if hasattr(module, "FieldConfig") else {}
    defaults = {"properties": {"defaults": {"properties": {"custom": custom}}}}
    then = {"properties": {"options": _schema(module.Options, defs), "fieldConfig": defaults}}
    return {"if": {"properties": {"type": {"const": name}}}, "then": then}


def _schema(python_type: Any, defs: dict[str, Schema]) -> Schema:
    if python_type in SCALARS:
        return SCALARS[python_type]
    origin, parts = typing.get_origin(python_type), typing.get_args(python_type)
    if origin is typing.Literal:
        return {"enum": list(parts)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(part, defs) for part in parts]}
    if origin is list:
        return {"type": "array", "items": _schema(parts[0], defs)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(parts[1], defs)}
    if python_type is variants.Dataquery:
        python_type = prometheus.Dataquery
    if isinstance(python_type, type) and issubclass(python_type, enum.Enum):
        return {"enum": [member.value for member in python_type]}
    return _object(python_type, defs)


def _object(python_type: type, defs: dict[str, Schema]) -> Schema:
    name = (
        python_type.__name__
        if python_type.__module__ == dashboard.__name__
        else f"{python_type.__module__.split('.')[-1]}.{python_type.__name__}"
    )
    if name not in defs:
        defs[name] = {}  # a type may contain itself
        hints = typing.get_type_hints(python_type)
        properties = {key: _schema(hints[attribute], defs) for key, attribute in _json_keys(python_type)}
        defs[name] |= {"type": "object", "properties": properties, "additionalProperties": False}
    return {"$ref": f"#/$defs/{name}"}


def _json_keys(python_type: Any) -> typing.Iterator[tuple[str, str]]:
    """Yield each key of the type's JSON with the attribute that it holds, read from the source of `to_json`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(python_type.to_json)))
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
