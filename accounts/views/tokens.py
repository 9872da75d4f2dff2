"""A member's own API tokens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts import selectors
from accounts.access import MemberRequest, read_access, write_access
from accounts.errors import NotFound
from accounts.forms import TokenForm
from accounts.services import tokens
from tenants.pages import BadCursor


@read_access("tokens.read")
def token_list(request: MemberRequest) -> HttpResponse:
    """The tokens, and a form for another one."""
    return render(request, "accounts/tokens.html", {**_facts(request), "form": TokenForm()})


@write_access("tokens.write")
def token_create(request: MemberRequest) -> HttpResponse:
    """Make a token; the answer is the one page that ever shows it, so it isn't a redirect."""
    form = TokenForm(request.POST)
    if not form.submit(tokens.token_create, user=request.user):
        return render(request, "accounts/tokens.html", {**_facts(request), "form": form}, status=422)
    created, plain = form.result
    return render(
        request, "accounts/tokens.html", {**_facts(request), "form": TokenForm(), "created": created, "plain": plain}
    )


@write_access("tokens.write")
def token_revoke(request: MemberRequest, token_id: UUID) -> HttpResponse:
    """End a token."""
    try:
        token = tokens.token_revoke(token=selectors.token_get(user=request.user, token_id=token_id))
    except NotFound:
        messages.info(request, "This token is revoked already.")
    else:
        messages.success(request, f"The token “{token.name}” is revoked.")
    return redirect("token_list")


def _facts(request: MemberRequest) -> dict[str, Any]:
    try:
        page = selectors.token_page(user=request.user, cursor=request.GET.get("cursor"))
    except BadCursor:
        page = selectors.token_page(user=request.user)
    return {"tokens": page.items, "next": page.next}
