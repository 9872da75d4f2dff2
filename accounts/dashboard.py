"""What the dashboard tells: how many of what, and what is left to do in a new organisation."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count
from django.urls import reverse

from accounts import selectors
from accounts.models import User
from accounts.roles import Role, verbs_of_role


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a new organisation does once."""

    title: str
    text: str
    symbol: str
    href: str
    done: bool


def members_by_role() -> dict[str, int]:
    """How many active members there are of each role, roles with none left out, in the order of Role."""
    rows = User.objects.filter(is_active=True).values_list("role").annotate(Count("pk"))
    counts = dict(rows)
    return {role.value: counts[role] for role in Role if role in counts}


def newest_members(limit: int = 6) -> list[User]:
    """Who came last."""
    return list(User.objects.order_by("-created_at", "-id")[:limit])


def steps(user: User, *, members: int, tokens: int) -> list[Step]:
    """What is left to do, for those who may do it; empty once all of it is done."""
    verbs = verbs_of_role(user.role)
    found = [Step("Create your organisation", "", "building", "", done=True)]
    if "invitations.write" in verbs:
        invited = members > 1 or selectors.invitations().exists()
        text = "They get a link by e-mail and choose their own password."
        found.append(Step("Invite somebody", text, "user-plus", f"{reverse('member_list')}#invite", done=invited))
    if "tokens.write" in verbs:
        text = "Lets your scripts and programs use the API."
        found.append(Step("Create an API token", text, "key", reverse("token_list"), done=tokens > 0))
    if "profile.write" in verbs:
        text = "Others see it in the list of members and in the activity log."
        found.append(
            Step("Say how you are called", text, "user", f"{reverse('settings')}#profile", done=bool(user.name))
        )
    return [] if all(step.done for step in found) else found
