"""The two APIs, and the one table that turns errors into answers (`application/problem+json`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import orjson
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path
from ninja import NinjaAPI, Swagger
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from ninja.renderers import BaseRenderer
from psycopg_pool import PoolTimeout, TooManyRequests
from pymongo.errors import AutoReconnect, PyMongoError

from accounts.api import control, invitations, members, organisation, tokens, transfers
from accounts.auth import AUTH
from accounts.idempotency import idempotent
from activity.api import router as activity_router
from activity.charts_api import router as charts_router
from activity.erasure.api import router as erasure_router
from activity.jobs.api import router as jobs_router
from activity.proof.api import router as proof_router
from activity.schedules.api import router as schedules_router
from activity.usage.api import router as usage_router
from activity.webhooks.api import router as webhooks_router
from tenants.errors import TenantryError
from tenants.problem import problem_response

log = structlog.get_logger(__name__)

Handler = Callable[[HttpRequest, Any], HttpResponse]


class OrjsonRenderer(BaseRenderer):
    """Fast JSON; moments end in Z."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)


class OrjsonParser(Parser):
    """Strict JSON: no NaN, no lone surrogates. What isn't JSON is a 400."""

    def parse_body(self, request: HttpRequest) -> Any:
        return orjson.loads(request.body)


class ProblemAPI(NinjaAPI):
    """A NinjaAPI whose every refusal is a problem document: also those for wrong methods and unknown routes."""

    def _get_urls(self) -> list[URLPattern | URLResolver]:
        patterns = super()._get_urls()
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = _with_problems(pattern.callback)
        return [*patterns, path("<path:rest>", unknown_route)]


def _with_problems(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Http404:
            return unknown_route(request)
        if response.status_code == 405:
            allowed = response.headers.get("Allow", "")
            return problem_response(request, status=405, detail=f"Use one of {allowed}.", headers={"Allow": allowed})
        return response

    return update_wrapper(answer, view)


def unknown_route(request: HttpRequest, rest: str = "") -> HttpResponse:
    """404 for a path below an API that names nothing."""
    return problem_response(
        request, status=404, detail="There is nothing at this address; see the documentation at docs."
    )


unknown_route.csrf_exempt = True  # type: ignore[attr-defined]  # it changes nothing, and answers 404 to every method


# --- Errors to answers -----------------------------------------------------------------------------------------------------


def _tenantry_error(request: HttpRequest, error: TenantryError) -> HttpResponse:
    if error.status >= 500 and error.status not in {503, 507}:
        return _unexpected(request, error)
    return problem_response(
        request,
        status=error.status,
        detail=error.message,
        errors=getattr(error, "errors", None),
        headers=_retry_after(getattr(error, "retry_after", None) or (1 if error.status == 503 else None)),
        **getattr(error, "members", {}),
    )


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    fields: dict[str, list[str]] = {}
    for found in error.errors:
        # loc is (source, name of the parameter, field, …): what the client sent is the field's own path.
        place = [str(part) for part in found["loc"][1:]]
        if found["loc"][0] == "body" and len(place) > 1:
            place = place[1:]
        fields.setdefault(".".join(place) or str(found["loc"][0]), []).append(found["msg"])
    return problem_response(request, status=422, detail="Some fields are not valid.", errors=fields)


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem_response(request, status=error.status_code, detail=error.message)


def _unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    detail = "Send a token as Authorization: Bearer <token>." if error.message == "Unauthorized" else error.message
    return problem_response(request, status=401, detail=detail, headers={"WWW-Authenticate": "Bearer"})


def _forbidden(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return problem_response(request, status=403, detail=str(error) or "You may not do this.")


def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem_response(request, status=404, detail="There is no such thing here.")


def _too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem_response(request, status=413, detail="The body is too large.")


def _unreadable(request: HttpRequest, error: Exception) -> HttpResponse:
    """The body can't be read: the client went away, or what it sent isn't the form that it says."""
    log.info("api_body_unreadable", error=type(error).__name__)
    return problem_response(request, status=400, detail="The body isn't whole, or isn't what its Content-Type says.")


def _busy(request: HttpRequest, error: Exception) -> HttpResponse:
    """A database, or the way to it, is away or full: the same request may be sent again."""
    log.warning("api_unavailable", error=type(error).__name__)
    headers = _retry_after(getattr(error, "retry_after", 1))
    return problem_response(request, status=503, detail="Try again in a moment.", headers=headers)


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("api_failed", exc_info=error)
    return problem_response(
        request, status=500, detail="Something went wrong here. Tell us the request id if it stays."
    )


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}


# The most specific class of an error's ancestors decides.
ERRORS: dict[type[Exception], Handler] = {
    ValidationError: _invalid,
    AuthenticationError: _unauthenticated,
    HttpError: _http_error,
    PermissionDenied: _forbidden,
    Http404: _not_found,
    RequestDataTooBig: _too_big,
    MultiPartParserError: _unreadable,
    SuspiciousOperation: _unreadable,  # too many fields or files, among others
    UnreadablePostError: _unreadable,
    TenantryError: _tenantry_error,
    PoolTimeout: _busy,
    TooManyRequests: _busy,
    OperationalError: _busy,
    InterfaceError: _busy,
    AutoReconnect: _busy,
    PyMongoError: _unexpected,
    Exception: _unexpected,
}


def _api(*, title: str, namespace: str) -> ProblemAPI:
    api = ProblemAPI(
        title=title,
        version="1",
        urls_namespace=namespace,
        auth=AUTH,
        renderer=OrjsonRenderer(),
        parser=OrjsonParser(),
        # No calls to other hosts: the page's files are local, and the validator of swagger.io is off.
        docs=Swagger(settings={"validatorUrl": None, "persistAuthorization": False}),
    )
    for error, handler in ERRORS.items():
        api.add_exception_handler(error, handler)
    api.add_decorator(idempotent, mode="view")
    return api


tenant_api = _api(title="Tenantry API", namespace="api")
for router in (
    organisation.router,
    transfers.router,
    members.router,
    invitations.router,
    tokens.router,
    activity_router,
    proof_router,
    erasure_router,
    charts_router,
    jobs_router,
    schedules_router,
    webhooks_router,
    usage_router,
):
    tenant_api.add_router("", router)

control_api = _api(title="Tenantry operators' API", namespace="control-api")
control_api.add_router("", control.router)
