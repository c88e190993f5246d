"""The data API in the words of OpenAPI 3.1, for tools that make clients, tests and pages from such a
description: ``/api/openapi.json``.

It is written from the same tables that answer requests: the paths, the fields with their types, the operators
that filters know, the methods. So it says what is there, and can't say anything else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from buildwright import __version__
from buildwright.web import loglines, logtext, memory
from buildwright.web.data import TABLE, Target, kind_of
from buildwright.web.logtext import LogPath
from buildwright.web.memory import MemoryField
from buildwright.web.methods import methods_of
from buildwright.web.rawdata import ValuePath
from buildwright.web.resource import Computed, Endpoint, Json

_TYPES: dict[str, Json] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "datetime": {"type": "integer", "description": "seconds since 1970"},
    "string": {"type": "string"},
    "identifier": {"type": "string"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array"},
    "binary": {"description": "null in JSON; its path's /value has the bytes"},
    "sourcedproperties": {"type": "object", "description": "by name: [value, source]"},
    "jsonobject": {},
}
# What an element of a path can be.
_ELEMENTS: dict[str, Json] = {
    "n": {"type": "integer"},
    "i": {"type": "string", "pattern": "^[a-zA-Z_-][.a-zA-Z0-9_-]*$"},
    "s": {"type": "string", "minLength": 1},
}
_ERROR = {
    "description": "what is wrong, in one line",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_REFUSALS = {"400": _ERROR, "401": _ERROR, "403": _ERROR, "404": _ERROR}
_CALL_PARAMS = {"type": "object"}


@lru_cache(maxsize=1)
def description() -> Json:
    """The whole description."""
    paths: Json = {}
    schemas: Json = {
        "Error": {"type": "object", "required": ["error"], "properties": {"error": {}}},
        "Meta": {"type": "object", "properties": {"total": {"type": "integer"}}},
    }
    for path, target in TABLE:
        shown, elements = _elements(path)
        item: Json = {"parameters": elements, "get": _get(target, schemas)}
        methods = sorted(methods_of(target))
        if methods:
            item["post"] = _post(target, methods)
        paths[shown] = item
    return {
        "openapi": "3.1.0",
        "info": {"title": "Buildwright's data API", "version": __version__},
        "servers": [{"url": "v2"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _elements(path: str) -> tuple[str, list[Json]]:
    """The path in OpenAPI's form, and its parameters."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _ELEMENTS[kind]}
        for kind, name in re.findall(r"([nis]):(\w+)", path)
    ]
    return re.sub(r"[nis]:(\w+)", r"{\1}", path), parameters


def _get(target: Target, schemas: Json) -> Json:
    what = kind_of(target)
    if isinstance(target, LogPath | ValuePath):
        return {
            "summary": f"{what}: the content",
            "parameters": _content_parameters(target),
            "responses": {
                "200": {"description": "the content"},
                **_REFUSALS,
                "410": {**_ERROR, "description": "it is no longer kept"},
            },
        }
    fields = _fields(target)
    name = target.resource.name if isinstance(target, Endpoint) else target.name
    schemas.setdefault(name, _object(target, fields))
    plural = target.resource.plural if isinstance(target, Endpoint) else target.plural
    answer = {
        "type": "object",
        "required": [plural, "meta"],
        "properties": {
            plural: {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}},
            "meta": {"$ref": "#/components/schemas/Meta"},
        },
    }
    return {
        "summary": f"{plural}: all" if target.collection else f"one {name}",
        "parameters": _query(target, fields),
        "responses": {
            "200": {"description": "found", "content": {"application/json": {"schema": answer}}},
            **_REFUSALS,
        },
    }


def _fields(target: Endpoint | Computed) -> dict[str, Any]:
    if isinstance(target, Endpoint):
        return dict(target.resource.fields)
    return dict(memory.fields_of(target.fields))


def _object(target: Endpoint | Computed, fields: dict[str, Any]) -> Json:
    properties = {name: _schema(field) for name, field in fields.items()}
    if isinstance(target, Endpoint) and target.resource.properties is not None:
        properties["properties"] = _TYPES["sourcedproperties"]
    return {"type": "object", "properties": properties}


def _schema(field: Any) -> Json:
    """A field's values. What is no row doesn't say which of its fields can be null: all of them."""
    kind = str(field.type).partition(" or ")[0]
    schema = dict(_TYPES.get(kind, {}))
    if "type" in schema and (isinstance(field, MemoryField) or field.nullable):
        schema["type"] = [schema["type"], "null"]
    return schema


def _query(target: Endpoint | Computed, fields: dict[str, Any]) -> list[Json]:
    """Fields for all; filters, order and pages for collections."""

    def parameter(name: str, schema: Json) -> Json:
        return {"name": name, "in": "query", "required": False, "schema": schema}

    names = sorted(fields)
    found = [parameter("field", {"type": "array", "items": {"enum": names}, "maxItems": 50})] if names else []
    if isinstance(target, Endpoint) and target.resource.properties is not None:
        found.append(parameter("property", {"type": "array", "items": {"type": "string"}, "maxItems": 20}))
    if not target.collection:
        return found
    ordered = [name for name in names if fields[name].sort_key is not None]
    if ordered:
        orders = ordered + [f"-{name}" for name in ordered]
        found.append(parameter("order", {"type": "array", "items": {"enum": orders}, "maxItems": 10}))
    found.append(parameter("limit", {"type": "integer", "minimum": 0}))
    found.append(parameter("offset", {"type": "integer", "minimum": 0}))
    for name in names:
        others = [f"{name}__{operator}" for operator in fields[name].operators if operator != "eq"]
        if "eq" in fields[name].operators:
            found.append(parameter(name, {"type": _filtered(fields[name].type)}))
            found[-1]["description"] = f"equal to this; likewise {', '.join(others)}"
        elif others:
            found.append(parameter(others[0], {"type": "string"}))
    return found


def _filtered(kind: str) -> str:
    return "integer" if kind in ("integer", "datetime") else "boolean" if kind == "boolean" else "string"


def _content_parameters(target: LogPath | ValuePath) -> list[Json]:
    if isinstance(target, ValuePath):
        return []
    numbers = {"offset", "limit", "line_bytes"}
    flags = {"regex", "case", "errors"}
    words = {"stream": sorted(loglines.STREAMS), "direction": ["backward", "forward"]}
    found = []
    for name in logtext.PARAMETERS[target.kind]:
        schema: Json = {"type": "integer"} if name in numbers else {"type": "string"}
        if name in flags:
            schema = {"enum": ["0", "1"]}
        elif name in words:
            schema = {"enum": words[name]}
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    return found


def _post(target: Target, methods: list[str]) -> Json:
    call = {
        "type": "object",
        "required": ["jsonrpc", "id", "method", "params"],
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": ["integer", "string", "null"]},
            "method": {"enum": methods},
            "params": _CALL_PARAMS,
        },
        "additionalProperties": False,
    }
    return {
        "summary": f"{kind_of(target)}: {', '.join(methods)}",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 200, "pattern": "^[!-~]*$"},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": call}}},
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}},
            **_REFUSALS,
            "501": {**_ERROR, "description": "no such method"},
        },
    }
