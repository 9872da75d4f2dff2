"""The app's configuration: it installs the connection handler and the guards before any model is imported."""

from typing import Any

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = "Tenancy"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        from tenants.db import guards, handler

        handler.install()
        guards.install()

    def ready(self) -> None:
        from tenants import checks  # noqa: F401  registers the system checks
