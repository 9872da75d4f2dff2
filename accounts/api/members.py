"""`/members`."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from accounts import selectors
from accounts.api.access import caller
from accounts.api.schemas import MemberFilter, MemberIn, MemberOut, MemberPatch, PageOut
from accounts.models import User
from accounts.services import members
from tenants.pages import page_response

router = Router(tags=["Members"])


@router.get("/members", response=PageOut[MemberOut], summary="List members, oldest first")
def member_list(request: HttpRequest, filters: Query[MemberFilter]) -> HttpResponse:
    caller(request).require("members.read")
    page = selectors.member_rows(q=filters.q, role=filters.role or "", limit=filters.limit, cursor=filters.cursor)
    return page_response(page)  # the rows are as MemberOut says: a test holds them against it


@router.post("/members", response={201: MemberOut}, summary="Add a member without an invitation")
def member_create(request: HttpRequest, body: MemberIn) -> Status[User]:
    """They choose a password by "Forgot your password?" on the sign-in page."""
    by = caller(request).require("members.write")
    return Status(201, members.member_create(by=by, email=body.email, name=body.name, role=body.role))


@router.get("/members/{uuid:member_id}", response=MemberOut, summary="A member")
def member_get(request: HttpRequest, member_id: UUID) -> User:
    caller(request).require("members.read")
    return selectors.member_get(member_id)


@router.patch("/members/{uuid:member_id}", response=MemberOut, summary="Change a member's name, role or activity")
def member_update(request: HttpRequest, member_id: UUID, body: MemberPatch) -> User:
    by = caller(request).require("members.write")
    changes = body.model_dump(exclude_unset=True)
    return members.member_update(by=by, member=selectors.member_get(member_id), changes=changes)


@router.delete("/members/{uuid:member_id}", response={204: None}, summary="Remove a member")
def member_remove(request: HttpRequest, member_id: UUID) -> Status[None]:
    by = caller(request).require("members.write")
    members.member_remove(by=by, member=selectors.member_get(member_id))
    return Status(204, None)
