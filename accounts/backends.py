"""Signing in by e-mail address and password."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest

from accounts import sign_in_limits
from accounts.errors import RateLimited
from accounts.models import User


class EmailBackend(ModelBackend):
    """Users of the active tenant (operators, in control). Both the check and every later request read the primary."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        email: str | None = None,
        **credentials: Any,
    ) -> User | None:
        """The active user with this address and password, or None. Raises PermissionDenied past the limit of failures."""
        address = email or username or ""
        if not address or not password or "\0" in address:
            return None
        uses = []
        if request is not None:
            try:
                uses = sign_in_limits.attempt_take(request, address)
            except RateLimited as error:
                request.sign_in_limited = True  # type: ignore[attr-defined]  # accounts.sessions records no event then
                raise PermissionDenied from error
        user = User.objects.by_email(address)
        if user is None:
            User().set_password(
                password
            )  # as slow as a check, so that the time doesn't tell which addresses are members
            return None
        if not user.check_password(password) or not self.user_can_authenticate(user):
            return None
        sign_in_limits.attempt_give_back(uses)
        return user

    def get_user(self, user_id: Any) -> User | None:
        try:
            user = User.objects.using("default").filter(pk=UUID(str(user_id))).first()
        except (ValueError, ValidationError):
            return None
        return user if user is not None and self.user_can_authenticate(user) else None
