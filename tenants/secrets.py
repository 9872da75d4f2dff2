"""SECRET_KEY, derived for whoever is active: what one tenant signs, no other can read.

All of Django's signing (sessions, password reset links, signed cookies, `django.core.signing`) ends in `settings.SECRET_KEY`. Giving
each tenant a key of its own there isolates it all at once, third-party apps included, with no salt to forget.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import UserString
from functools import lru_cache

from tenants.context import active
from tenants.errors import NoTenant


class TenantSecretKey(UserString):
    """A `str` in all but type, whose value is HMAC-SHA256(root key, id of the active tenant or of control).

    It is derived when it is used, not when it is read, so that a signer made at import time signs for whoever is active later.
    The tenant's id and not its alias goes in: a move must not sign everybody out. Raises NoTenant when nobody is active.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    @property
    def data(self) -> str:  # type: ignore[override]
        ref = active()
        if ref is None:
            raise NoTenant("Signing")
        return _derive(self._root, ref.id)

    def __bool__(self) -> bool:  # Django asks whether SECRET_KEY is set, at times when nobody is active
        return bool(self._root)

    def __repr__(self) -> str:
        return "<TenantSecretKey>"

    def root(self) -> str:
        """The key that all others derive from."""
        return self._root


@lru_cache(maxsize=4096)
def _derive(root: str, owner: str) -> str:
    return hmac.new(root.encode(), f"tenantry.secret-key:{owner}".encode(), hashlib.sha256).hexdigest()
