"""Ways in by a link: an invitation, and the single-use link that sign-up ends with.

A GET changes nothing, since mail scanners and link previews follow links too: the page's form does it, by POST.
"""

from __future__ import annotations

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.errors import InvitationUnusable, SignInLinkUnusable
from accounts.forms import AcceptInvitationForm
from accounts.models import User
from accounts.services import invitations
from accounts.signup import sign_in_link_consume

BACKEND = "accounts.backends.EmailBackend"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_accept(request: HttpRequest, secret: str) -> HttpResponse:
    """Become a member, and be signed in."""
    try:
        invitation = invitations.invitation_find(secret)
    except InvitationUnusable:
        return render(request, "accounts/accept_invitation.html", status=410)
    form = AcceptInvitationForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.submit(invitations.invitation_accept, secret=secret):
        _sign_in(request, form.result)
        return redirect("dashboard")
    facts = {"invitation": invitation, "form": form}
    return render(request, "accounts/accept_invitation.html", facts, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, secret: str) -> HttpResponse:
    """The owner's first way in; app.js sends the form at once."""
    if request.method != "POST":
        return render(request, "accounts/welcome.html")
    try:
        user = sign_in_link_consume(secret)
    except SignInLinkUnusable as refusal:
        return render(request, "accounts/welcome.html", {"refusal": refusal.message}, status=410)
    _sign_in(request, user)
    return redirect("dashboard")


def _sign_in(request: HttpRequest, user: User) -> None:
    """Whoever was signed in here before is signed out: nothing of theirs may go over into the new session."""
    if request.user.is_authenticated and request.user.pk != user.pk:
        logout(request)
    login(request, user, backend=BACKEND)
