"""`manage.py demo`: an operator, and two organisations with people in them, to try everything on."""

from __future__ import annotations

import json
import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.errors import EmailTaken
from accounts.models import Invitation, User
from accounts.roles import Role
from accounts.services.invitations import invitation_send
from accounts.services.members import member_create
from accounts.services.profile import password_set
from accounts.services.tokens import token_authenticate, token_create
from accounts.signup import tenant_sign_up
from tenants import directory
from tenants.context import use_control, use_tenant
from tenants.errors import TenantNotFound
from tenants.refs import TenantRef

ORGANISATIONS = {
    "acme": (
        "Acme Ltd",
        "Ada Lovelace",
        ["Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth"],
    ),
    "globex": ("Globex Corporation", "Margaret Hamilton", ["Katherine Johnson", "Dennis Ritchie", "Radia Perlman"]),
}
ROLES = [Role.ADMIN, Role.MEMBER, Role.VIEWER]
OPERATOR_EMAIL = "operator@example.com"

Entry = dict[str, str]


class Command(BaseCommand):
    help = "Make the demo: an operator, and the organisations acme and globex. What is there already is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the sign-ins as JSON")
        parser.add_argument("--file", type=Path, required=True, help="where the demo's sign-ins are kept (mode 0600)")
        parser.add_argument("--no-tenants", action="store_true", help="the operator alone")

    def handle(self, **options: Any) -> None:
        path: Path = options["file"]
        kept = _read(path)
        with use_control():
            kept["operator"] = operator(kept.get("operator"))
        _write(path, kept)
        tenants: dict[str, Entry] = {entry["slug"]: entry for entry in kept.get("tenants", [])}
        for slug in [] if options["no_tenants"] else ORGANISATIONS:
            tenants[slug] = organisation(slug, tenants.get(slug))
            kept["tenants"] = list(tenants.values())
            _write(path, kept)
        kept.setdefault("tenants", [])
        if options["json"]:
            self.stdout.write(json.dumps(kept))
        else:
            for entry in [*kept["tenants"], kept["operator"]]:
                self.stdout.write(f"{entry.get('slug', 'operator')}: {entry['email']} / {entry['password']}")


def operator(kept: Entry | None) -> Entry:
    """The demo's operator in control, who can sign in with what is kept, or with a new password and token."""
    user = User.objects.by_email(OPERATOR_EMAIL)
    if user is None:
        user = User.objects.create_superuser(OPERATOR_EMAIL, name="Demo operator")
    return _entry(user, kept)


def organisation(slug: str, kept: Entry | None) -> Entry:
    """A demo organisation, made if it isn't there, and its owner."""
    name, owner_name, people = ORGANISATIONS[slug]
    try:
        ref = directory.by_slug(slug)
    except TenantNotFound:
        kept = {"password": secrets.token_urlsafe(12)}
        email = f"{owner_name.split()[0].lower()}@{slug}.example"
        with use_control():
            made = tenant_sign_up(
                slug=slug,
                name=name,
                owner_name=owner_name,
                owner_email=email,
                owner_password=kept["password"],
                plan="team",
            )
        ref = made.tenant
    with use_tenant(ref):
        _people(ref, people)
        owner = User.objects.filter(role=Role.OWNER, is_active=True).order_by("created_at").first()
        if owner is None:
            raise CommandError(f"The organisation {slug} has no active owner.")
        return {"slug": slug, **_entry(owner, kept)}


def _people(ref: TenantRef, people: list[str]) -> None:
    for number, person in enumerate(people):
        email = f"{person.split()[0].lower()}@{ref.slug}.example"
        if User.objects.by_email(email) is None:
            member_create(by=None, email=email, name=person, role=ROLES[number % len(ROLES)])
    invited = f"invited@{ref.slug}.example"
    if not Invitation.objects.filter(email=invited).exists():
        try:
            invitation_send(by=None, email=invited)
        except EmailTaken:
            pass  # they accepted


def _entry(user: User, kept: Entry | None) -> Entry:
    """The user's sign-in as it is kept; what of it no longer works is made anew."""
    password, token = (kept or {}).get("password", ""), (kept or {}).get("token", "")
    if not password or not user.check_password(password):
        password = secrets.token_urlsafe(12)
        password_set(user=user, password=password)
    if not token or token_authenticate(token) is None:
        token = token_create(user=user, name="Demo")[1]
    return {"email": user.email, "password": password, "token": token}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandError(
            f"{path} can't be read as the demo's sign-ins: {error}. Move it away to make new ones."
        ) from error


def _write(path: Path, kept: dict[str, Any]) -> None:
    """Readable for its owner alone from its first byte on, and never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
        os.replace(temporary, path)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}.") from error
