"""The operators' site: Django's admin, on the control host alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.db.models import Count, Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path

from tenants.context import active
from tenants.refs import ControlRef


class OperatorsAdminConfig(AdminConfig):
    """Stands in INSTALLED_APPS for django.contrib.admin."""

    default_site = "tenants.admin_site.OperatorsAdminSite"
    default = False


class OperatorsAdminSite(admin.AdminSite):
    """Shows the registry, the operators and the log. Nobody has a permission here while a tenant is active.

    What other apps register is left out: their tables are in the tenants' databases, which this site doesn't enter, or
    hold people's means of signing in.
    """

    site_header = "Tenantry"
    site_title = "Tenantry operators"
    index_title = "Fleet"
    apps_shown = frozenset({"tenants", "activity", "accounts", "auth"})

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[admin.ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        super().register(
            [model for model in models if model._meta.app_label in self.apps_shown], admin_class, **options
        )

    def has_permission(self, request: HttpRequest) -> bool:
        return isinstance(active(), ControlRef) and super().has_permission(request)

    def get_urls(self) -> list[Any]:
        return [
            path("pools/", self.admin_view(self.pools), name="pools"),
            path("workers/", self.admin_view(self.workers), name="workers"),
            *super().get_urls(),
        ]

    def pools(self, request: HttpRequest) -> TemplateResponse:
        """What the connections of this machine's processes do."""
        from tenants import admin_pools

        return admin_pools.page(request, self.each_context(request))

    def workers(self, request: HttpRequest) -> TemplateResponse:
        """Who runs which jobs."""
        from tenants import admin_workers

        return admin_workers.page(request, self.each_context(request))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The start page says first how the fleet is."""
        from tenants import health
        from tenants.models import Tenant

        report = health.report_sync()
        fleet = {
            "state": report.state,
            "parts": [report.control, *report.servers, *report.others],
            "tenants": Tenant.objects.values("state").annotate(count=Count("id")).order_by("state"),
        }
        return super().index(request, {**(extra_context or {}), "fleet": fleet})
