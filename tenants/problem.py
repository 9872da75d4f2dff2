"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse

CONTENT_TYPE = "application/problem+json"


def wants_problem(request: HttpRequest) -> bool:
    """Whether the path is the API's, whose clients read problem documents."""
    return request.path.startswith(("/api/", "/control/api/"))


def problem_response(
    request: HttpRequest,
    *,
    status: int,
    title: str = "",
    detail: str = "",
    errors: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> HttpResponse:
    """A problem document. `detail` says what the client can do; `errors` names the fields; `members` are further members."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": getattr(request, "id", None),
        **members,
    }
    if errors is not None:
        body["errors"] = errors
    return HttpResponse(orjson.dumps(body), status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))
