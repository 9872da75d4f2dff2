"""The app's configuration."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import checks, control, erasure, sessions  # noqa: F401  checks and receivers register themselves
        from accounts.imports import waiting  # noqa: F401
        from tenants.signals import tenant_state_changed

        sessions.connect()
        tenant_state_changed.connect(control.record_state_change, dispatch_uid="accounts.tenant_state_changed")
