"""django-allauth's ways in: sign-up is closed (organisations are made on the control host, members are invited)."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.http import HttpRequest

from accounts import mail, sign_in_limits
from accounts.errors import InvalidField, RateLimited
from accounts.models import User
from accounts.ratelimit import client_ip
from accounts.services.profile import password_set
from accounts.validation import clean_password


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Tenantry's rules for allauth's views."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_ip(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Say that there were too many attempts, where the backend could only refuse. The backend counts (accounts.backends)."""
        try:
            sign_in_limits.attempt_check(request, str(credentials.get("email") or ""))
        except RateLimited:
            raise self.validation_error("too_many_login_attempts") from None

    def clean_password(self, password: str, user: AbstractBaseUser | None = None) -> str:
        try:
            return clean_password(password, user if isinstance(user, User) else None)
        except InvalidField as error:
            raise ValidationError(error.errors["password"]) from None

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        assert isinstance(user, User)
        password_set(user=user, password=password)

    def send_password_reset_mail(self, user: AbstractBaseUser, email: str, context: dict[str, Any]) -> None:
        """Past the limit nothing is sent, and the page says the same as always: it must not tell who is a member."""
        try:
            sign_in_limits.reset_take(self.request, email)
        except RateLimited:
            return
        super().send_password_reset_mail(user, email, context)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        facts = {"request": self.request, "email": email, **context}
        message: EmailMessage = self.render_mail(template_prefix, email, facts)
        mail.deliver(message)
