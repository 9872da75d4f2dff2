"""`/tokens`: the caller's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from accounts import selectors
from accounts.api.access import caller
from accounts.api.schemas import NewTokenOut, PageIn, PageOut, TokenIn, TokenOut
from accounts.models import ApiToken
from accounts.services.tokens import token_create, token_revoke
from tenants.pages import Page

router = Router(tags=["Tokens"])


@router.get("/tokens", response=PageOut[TokenOut], summary="List your own tokens, oldest first")
def token_list(request: HttpRequest, page: Query[PageIn]) -> Page[ApiToken]:
    user = caller(request).require("tokens.read")
    return selectors.token_page(user=user, limit=page.limit, cursor=page.cursor)


@router.post("/tokens", response={201: NewTokenOut}, summary="Make a token for yourself")
def token_post(request: HttpRequest, body: TokenIn) -> Status[dict[str, Any]]:
    """The answer is the only one that holds the token. Without `scopes` it may do all that your role allows."""
    asking = caller(request)
    token, plain = token_create(
        user=asking.require("tokens.write"),
        name=body.name,
        scopes=body.scopes,
        expires_at=body.expires_at,
        asked_by=asking.token,
    )
    return Status(201, {**TokenOut.from_orm(token).dict(), "token": plain})


@router.delete("/tokens/{uuid:token_id}", response={204: None}, summary="Revoke one of your own tokens")
def token_delete(request: HttpRequest, token_id: UUID) -> Status[None]:
    user = caller(request).require("tokens.write")
    token_revoke(token=selectors.token_get(user=user, token_id=token_id))
    return Status(204, None)
