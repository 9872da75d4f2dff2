"""Who may see or send what: the first line of every view of a tenant's pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from accounts.roles import verbs_of_role
from tenants.refs import TenantRef


class MemberRequest(HttpRequest):
    """A request of somebody who is signed in to the tenant that it is for."""

    user: User
    tenant: TenantRef
    htmx: HtmxDetails
    id: str
    verbs: frozenset[str]


P = ParamSpec("P")
View = Callable[Concatenate[MemberRequest, P], HttpResponseBase]
AnyView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def read_access(verb: str) -> Callable[[View[P]], AnyView[P]]:
    """The view is a page to read, for members whose role has the verb; others are asked to sign in, or get a 403."""
    return _access(verb, ["GET", "HEAD"])


def write_access(verb: str) -> Callable[[View[P]], AnyView[P]]:
    """The view changes something and takes a POST alone, of members whose role has the verb."""
    return _access(verb, ["POST"])


def _access(verb: str, methods: list[str]) -> Callable[[View[P]], AnyView[P]]:
    def decorate(view: View[P]) -> AnyView[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _ask_to_sign_in(request)
            verbs = verbs_of_role(request.user.role)
            if verb not in verbs:
                raise PermissionDenied(
                    f"Your role ({request.user.role}) doesn't allow this. Ask an owner or an admin here."
                )
            member_request = cast(MemberRequest, request)
            member_request.verbs = verbs
            return view(member_request, *args, **kwargs)

        # Pages of members are theirs alone: no cache, of the browser or between, keeps one.
        return cast(AnyView[P], never_cache(require_http_methods(methods)(guarded)))

    return decorate


def _ask_to_sign_in(request: HttpRequest) -> HttpResponseBase:
    sign_in = reverse("account_login")
    htmx = cast(MemberRequest, request).htmx
    if htmx:  # the whole page must go there, not a part of it
        return HttpResponseClientRedirect(redirect_to_login(htmx.current_url_abs_path or "/", sign_in).url)
    back_to = request.get_full_path() if request.method in {"GET", "HEAD"} else "/"
    return redirect_to_login(back_to, sign_in)
