"""The control host's pages: what Tenantry is, making an organisation, finding the sign-in of one."""

from __future__ import annotations

from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.forms import FindOrganisationForm, SignUpForm
from accounts.links import origin_of
from accounts.signup import tenant_sign_up
from tenants import directory
from tenants.errors import TenantNotFound, TenantryError
from tenants.lifecycle.slugs import slug_check, slug_propose

# The forms of these pages lead to a tenant's host, and browsers hold a form's redirect against form-action too.
leads_to_tenants = csp_update({"form-action": [f"{urlsplit(settings.WEB_URL).scheme}://*.{settings.BASE_DOMAIN}:*"]})


@leads_to_tenants
@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What Tenantry is."""
    return render(request, "control/landing.html", {"form": FindOrganisationForm()})


@leads_to_tenants
@require_safe
def find_organisation(request: HttpRequest) -> HttpResponse:
    """On to the sign-in of the organisation that somebody named."""
    form = FindOrganisationForm(request.GET)
    if form.is_valid():
        try:
            return redirect(f"{origin_of(directory.by_slug(form.cleaned_data['slug']))}/login")
        except TenantNotFound:
            form.add_error("slug", "There is no organisation at this address. Check it for a typing mistake.")
    return render(request, "control/landing.html", {"form": form}, status=404)


@leads_to_tenants
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an organisation; then on to its host, where a single-use link signs the owner in."""
    form = SignUpForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.submit(tenant_sign_up):
        return redirect(form.result.sign_in_url)
    return render(request, "control/signup.html", {"form": form}, status=422 if form.errors else 200)


@never_cache
@require_safe
def address_proposal(request: HttpRequest) -> HttpResponse:
    """The field of the address with a free one for the organisation's name, while somebody writes that."""
    name = request.GET.get("name", "").strip()[:200]
    slug = slug_propose(name) if name else ""
    return render(request, "control/address.html", {"form": SignUpForm(initial={"slug": slug}), "slug": slug})


@never_cache
@require_safe
def slug_answer(request: HttpRequest) -> HttpResponse:
    """Whether an address is free, while somebody writes it."""
    slug = request.GET.get("slug", "").strip().lower()
    errors = []
    if slug:
        try:
            slug_check(slug)
        except TenantryError as refusal:
            errors.append(refusal.message)
    return render(request, "control/slug_answer.html", {"slug": slug, "errors": errors})
