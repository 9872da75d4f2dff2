"""Error pages, and problem documents below `/api/`. They need no tenant, no database and no user."""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from tenants.errors import ProvisioningFailed, SubjectKeysUnavailable
from tenants.problem import problem_response, wants_problem


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    return _respond(request, 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, with the sentence that the view refused with."""
    return _respond(request, 403, message=str(exception))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404. Django's own text names the URLs that it tried; it isn't shown."""
    return _respond(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500; or 503 when a database, or the way to it, is away or full, so that the same request may be sent again."""
    error = sys.exc_info()[1]  # Django calls this while it handles the exception
    if isinstance(error, OperationalError | InterfaceError | ProvisioningFailed | SubjectKeysUnavailable):
        response = _respond(request, 503)
        response.headers["Retry-After"] = str(max(1, round(getattr(error, "retry_after", 1))))
        return response
    return _respond(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose token isn't this session's."""
    return _respond(request, 403, template="403_csrf.html")


def _respond(request: HttpRequest, status: int, *, message: str = "", template: str = "") -> HttpResponse:
    if wants_problem(request):
        return problem_response(
            request, status=status, detail=message or f"{HTTPStatus(status).description or 'Refused'}."
        )
    facts = {"message": message, "request_id": getattr(request, "id", "")}
    return HttpResponse(render_to_string(template or f"{status}.html", facts), status=status)
