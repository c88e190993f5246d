"""The audit: who asked for what. Only who may act may read it."""

from __future__ import annotations

from buildwright.store import schema
from buildwright.web.fields import decode_json, number, opaque, seconds, text
from buildwright.web.paths import number as path_number
from buildwright.web.resource import Endpoint, resource

_a = schema.audit.c

AUDIT = resource(
    "audit",
    schema.audit,
    _a.id,
    number("auditid", _a.id),
    seconds("asked_at", _a.asked_at),
    text("who", _a.who),
    text("peer", _a.peer, nullable=True),
    text("method", _a.method),
    text("target", _a.target),
    opaque("params", _a.params, decode=decode_json, type="jsonobject"),
    text("outcome", _a.outcome),
    text("answer", _a.answer),
)

ENDPOINTS = [
    Endpoint("/audits", AUDIT, True, guarded=True),
    Endpoint("/audits/n:auditid", AUDIT, False, _a.id == path_number("auditid"), guarded=True),
]
