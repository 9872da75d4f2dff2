"""Who may still do what an answer of `stream` goes on doing: asked for all callers of a tenant at once, while their answers last."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from accounts.auth import Caller
from accounts.models import ApiToken
from accounts.native_sessions import users_of
from accounts.roles import verbs_of_role, verbs_of_scopes
from tenants.db import aio


async def still_allowed(callers: Collection[Caller], verb: str) -> set[Caller]:
    """Those whose token or session is good, whose user may sign in, and who may do what the verb says (settings.TENANTS_NATIVE_CALLERS).

    At most three round trips to the primary of the active tenant, however many they are. Raises django.db.Error.
    """
    tokens = {caller.token.pk for caller in callers if caller.token is not None}
    keys = {caller.session_key for caller in callers if caller.session_key is not None}
    good_tokens = await _tokens_allowed(tokens, verb) if tokens else set()
    users = await users_of(keys) if keys else {}
    good_keys = {key for key, user in users.items() if verb in verbs_of_role(user.role)}
    return {
        caller
        for caller in callers
        if (caller.session_key in good_keys if caller.token is None else caller.token.pk in good_tokens)
    }


async def _tokens_allowed(ids: Collection[UUID], verb: str) -> set[UUID]:
    now = timezone.now()
    found = ApiToken.objects.using("default").filter(
        Q(expires_at=None) | Q(expires_at__gt=now), pk__in=ids, revoked_at=None, user__is_active=True
    )
    rows = await aio.fetch(found.values_list("pk", "scopes", "user__role"))
    return {pk for pk, scopes, role in rows if verb in verbs_of_role(role) & verbs_of_scopes(scopes)}
