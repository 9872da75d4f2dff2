"""Slugs: the label of a tenant's host name, and how people know it."""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Final

from tenants.errors import SlugInvalid, SlugReserved, SlugTaken
from tenants.models import Tenant

MAX_LENGTH: Final = 40

# A label of a host name. Two hyphens in a row are kept for encoded names (`xn--…`), which could look like another's.
_SLUG: Final = re.compile(r"(?=.{3,40}\Z)[a-z](?:[a-z0-9]|-(?!-))*[a-z0-9]")

RESERVED: Final = frozenset(
    """
    abuse account accounts activity admin administrator api app apps assets auth autoconfig autodiscover billing
    blog cdn control dashboard dev dns docs download downloads email files ftp git grafana health help host
    hostmaster imap internal invite live localhost login logout mail mailer marketing media metrics monitoring ns1
    ns2 oauth operator operators payment payments pop pop3 postgres postmaster preview privacy prometheus ready
    root secure security server signin signup sitemap smtp sso staff staging static status stream support system
    tenant tenantry tenants upload uploads user users webmail webmaster wpad www www1 www2
    """.split()  # noqa: SIM905  as a list it is a page long
)


def slug_validate(slug: str) -> None:
    """Check a slug's form. Raises SlugInvalid and SlugReserved."""
    if not _SLUG.fullmatch(slug):
        raise SlugInvalid(slug)
    if slug in RESERVED:
        raise SlugReserved(slug)


def slug_check(slug: str) -> None:
    """Check whether a new tenant could have the slug now. Raises SlugInvalid, SlugReserved and SlugTaken."""
    slug_validate(slug)
    if Tenant.objects.filter(slug=slug).exists():
        raise SlugTaken(slug)


def slug_propose(name: str) -> str:
    """A slug for an organisation of that name, which is free at the moment."""
    words = re.findall(r"[a-z0-9]+", unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower())
    base = "-".join(words)
    if not base[:1].isalpha() or len(base) < 3:
        base = f"org-{base}".rstrip("-")
    base = base[: MAX_LENGTH - 4].rstrip("-")  # room for a number
    taken = set(Tenant.objects.filter(slug__startswith=base).values_list("slug", flat=True)) | RESERVED
    candidates = [base, *(f"{base}-{number}" for number in range(2, 100))]
    return next((slug for slug in candidates if slug not in taken), f"{base[:30].rstrip('-')}-{secrets.token_hex(4)}")
