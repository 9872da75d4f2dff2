"""`/invitations`."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from accounts import selectors
from accounts.api.access import caller
from accounts.api.schemas import InvitationIn, InvitationOut, PageIn, PageOut
from accounts.models import Invitation
from accounts.services import invitations
from tenants.pages import Page

router = Router(tags=["Invitations"])


@router.get("/invitations", response=PageOut[InvitationOut], summary="List open invitations, oldest first")
def invitation_list(request: HttpRequest, page: Query[PageIn]) -> Page[Invitation]:
    caller(request).require("invitations.read")
    return selectors.invitation_page(limit=page.limit, cursor=page.cursor)


@router.post("/invitations", response={201: InvitationOut}, summary="Invite somebody by e-mail")
def invitation_send(request: HttpRequest, body: InvitationIn) -> Status[Invitation]:
    """An open invitation to the same address is replaced."""
    by = caller(request).require("invitations.write")
    return Status(201, invitations.invitation_send(by=by, email=body.email, role=body.role))


@router.delete("/invitations/{uuid:invitation_id}", response={204: None}, summary="Revoke an invitation")
def invitation_revoke(request: HttpRequest, invitation_id: UUID) -> Status[None]:
    by = caller(request).require("invitations.write")
    invitations.invitation_revoke(by=by, invitation=selectors.invitation_get(invitation_id))
    return Status(204, None)
