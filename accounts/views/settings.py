"""The organisation's settings and one's own."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.access import MemberRequest, read_access, write_access
from accounts.forms import EraseForm, OrganisationForm, PasswordForm, ProfileForm
from accounts.services import profile, tenant
from activity.erasure.selectors import erasures_latest
from activity.erasure.services import erase_subject
from tenants import time_zones


@read_access("tenant.read")
def settings(request: MemberRequest) -> HttpResponse:
    """All settings on one page."""
    return _page(request)


@write_access("tenant.write")
def organisation_update(request: MemberRequest) -> HttpResponse:
    """Change the organisation's name and time zone."""
    time_zone = time_zones.of_tenant(request.tenant)
    form = OrganisationForm(request.POST, auto_id="organisation_%s", time_zone=time_zone)
    if form.submit(tenant.tenant_update):
        messages.success(request, "The organisation's settings are saved.")
        return redirect("settings")
    return _page(request, organisation_form=form)


@write_access("profile.write")
def profile_update(request: MemberRequest) -> HttpResponse:
    """Change one's own name."""
    form = ProfileForm(request.POST, auto_id="profile_%s")
    if form.submit(profile.profile_update, user=request.user):
        messages.success(request, "Your name is saved.")
        return redirect("settings")
    return _page(request, profile_form=form)


@write_access("profile.write")
def password_update(request: MemberRequest) -> HttpResponse:
    """Change one's own password; this session goes on, others end."""
    form = PasswordForm(request.POST, auto_id="password_%s")
    if form.submit(profile.password_change, user=request.user):
        update_session_auth_hash(request, request.user)
        messages.success(request, "Your password is changed.")
        return redirect("settings")
    return _page(request, password_form=form)


@write_access("activity.erase")
def person_erase(request: MemberRequest) -> HttpResponse:
    """Erase somebody from the activity log; a job does it."""
    form = EraseForm(request.POST, auto_id="erase_%s")
    if form.submit(erase_subject):
        messages.success(request, "They are being erased: what the log tells of them can't be read any more.")
        return redirect("job_detail", form.result.pk)
    return _page(request, erase_form=form)


def _page(request: MemberRequest, **refused: Form) -> HttpResponse:
    time_zone = time_zones.of_tenant(request.tenant)
    forms: dict[str, Form] = {
        "organisation_form": OrganisationForm(
            initial={"name": request.tenant.name, "time_zone": time_zone},
            auto_id="organisation_%s",
            time_zone=time_zone,
        ),
        "profile_form": ProfileForm(initial={"name": request.user.name}, auto_id="profile_%s"),
        "password_form": PasswordForm(auto_id="password_%s"),
        "erase_form": EraseForm(initial={"subject": request.GET.get("erase", "")}, auto_id="erase_%s"),
    }
    facts: dict[str, Any] = {**forms, **refused, "time_zone": time_zone}
    if "activity.erase" in request.verbs:
        facts["erasures"] = erasures_latest()
    return render(request, "accounts/settings.html", facts, status=422 if refused else 200)
