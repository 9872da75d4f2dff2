"""Members and invitations, as their organisation sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from accounts import exports, selectors
from accounts.access import MemberRequest, read_access, write_access
from accounts.errors import AccountsError, NotFound
from accounts.forms import InvitationForm, MemberForm, RoleForm
from accounts.models import User
from accounts.roles import Role, may_manage, verbs_of_role
from accounts.services import invitations, members
from activity import selectors as activity_selectors
from tenants.errors import TenantryError
from tenants.pages import BadCursor, Page


@read_access("members.read")
def member_list(request: MemberRequest) -> HttpResponse:
    """Members with search as you type; below them invitations, for those who may see them."""
    q = request.GET.get("q", "").strip()
    facts = _member_facts(request, q)
    if request.htmx and not request.htmx.history_restore_request:
        return render(request, "accounts/member_rows.html", facts)
    return render(request, "accounts/members.html", {**facts, **_invitation_facts(request, InvitationForm())})


@write_access("invitations.write")
def invitation_create(request: MemberRequest) -> HttpResponse:
    """Invite somebody."""
    form = InvitationForm(request.POST)
    if form.submit(invitations.invitation_send, by=request.user):
        messages.success(request, f"{form.result.email} is invited.")
        return redirect("/members#invitations")
    facts = {**_member_facts(request, ""), **_invitation_facts(request, form)}
    return render(request, "accounts/members.html", facts, status=422)


@write_access("invitations.write")
def invitation_revoke(request: MemberRequest, invitation_id: UUID) -> HttpResponse:
    """Make an invitation's link unusable."""
    try:
        invitation = selectors.invitation_get(invitation_id)
        invitations.invitation_revoke(by=request.user, invitation=invitation)
    except NotFound:
        messages.info(request, "This invitation is no longer open: it was accepted or revoked.")
    except AccountsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"The invitation of {invitation.email} is revoked.")
    return redirect("/members#invitations")


@read_access("members.read")
def member_detail(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """One member: who they are, what they did, and for those who may, how to change it."""
    member = _get(member_id)
    form = MemberForm(initial={"name": member.name, "role": member.role})
    return _detail(request, member, form)


@write_access("members.write")
def member_update(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Change a member's name and role."""
    member = _get(member_id)
    form = MemberForm(request.POST)

    def update(**changes: Any) -> User:
        return members.member_update(by=request.user, member=member, changes=changes)

    if form.submit(update):
        messages.success(request, "Saved.")
        return redirect("member_detail", member_id)
    return _detail(request, _get(member_id), form, status=422)


@write_access("members.write")
def member_role(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Change a member's role from the list; answers the cell with the role as it is now."""
    member = _get(member_id)
    form = RoleForm(request.POST)

    def change(role: str) -> User:
        return members.member_change_role(by=request.user, member=member, role=role)

    saved = form.submit(change)
    refusal = "" if saved else " ".join(str(sentence) for sentences in form.errors.values() for sentence in sentences)
    facts = {"member": _get(member_id), "assignable": _assignable(request.user), "saved": saved, "refusal": refusal}
    return render(request, "accounts/member_role.html", facts)


@write_access("members.write")
def member_deactivate(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Take all rights from a member."""
    return _act(request, member_id, members.member_deactivate, "{} is deactivated.")


@write_access("members.write")
def member_reactivate(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Let a deactivated member sign in again."""
    return _act(request, member_id, members.member_reactivate, "{} can sign in again.")


@write_access("members.write")
def member_remove(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Delete a member."""
    member = _get(member_id)
    try:
        members.member_remove(by=request.user, member=member)
    except TenantryError as refusal:
        messages.error(request, refusal.message)
        return redirect("member_detail", member_id)
    messages.success(request, f"{member.get_full_name()} is removed.")
    return redirect("member_list")


def _act(request: MemberRequest, member_id: UUID, service: Callable[..., User], done: str) -> HttpResponse:
    member = _get(member_id)
    try:
        service(by=request.user, member=member)
    except TenantryError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, done.format(member.get_full_name()))
    return redirect("member_detail", member_id)


def _get(member_id: UUID) -> User:
    try:
        return selectors.member_get(member_id)
    except NotFound as error:
        raise Http404(error.message) from None


def _detail(request: MemberRequest, member: User, form: MemberForm, *, status: int = 200) -> HttpResponse:
    facts = {
        "member": member,
        "form": form,
        "events": activity_selectors.latest(request.tenant, actor=f"member:{member.id}", limit=8),
    }
    return render(request, "accounts/member.html", facts, status=status)


def _assignable(user: User) -> list[str]:
    return [role.value for role in Role if may_manage(user.role, role)]


def _member_facts(request: MemberRequest, q: str) -> dict[str, Any]:
    page: Page[User]
    try:
        page = selectors.member_page(q=q, cursor=request.GET.get("cursor"))
    except BadCursor:
        page = selectors.member_page(q=q)
    return {
        "q": q,
        "members": page.items,
        "next": page.next,
        "assignable": _assignable(request.user),
        "export_formats": exports.file_formats(),
    }


def _invitation_facts(request: MemberRequest, form: InvitationForm) -> dict[str, Any]:
    if "invitations.read" not in verbs_of_role(request.user.role):
        return {}
    try:
        page = selectors.invitation_page(cursor=request.GET.get("invitations"))
    except BadCursor:
        page = selectors.invitation_page()
    return {"invitation_form": form, "invitations": page.items, "invitations_next": page.next}
