"""The operators' pages of operators and tenants. Tenants change through the services of the operators' API."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import control
from accounts.models import User
from tenants.errors import TenantryError
from tenants.models import Domain, Tenant


class OperatorCreationForm(AdminUserCreationForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("email",)
        field_classes: dict[str, type] = {}


@admin.register(User)
class OperatorAdmin(UserAdmin):  # type: ignore[type-arg]
    """Operators: this site sees control's users, and members are in their tenants' databases."""

    add_form = OperatorCreationForm
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2", "is_staff")}),)


class DomainInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Domain
    fields = ("host", "is_verified", "created_at")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Tenants, to look at; the actions suspend and resume them."""

    list_display = ("slug", "name", "state", "plan", "server", "schema", "created_at", "activity")
    list_filter = ("state", "plan", "server")
    search_fields = ("slug", "name")
    search_help_text = "Part of the address or of the name"
    list_per_page = 50
    show_full_result_count = False
    ordering = ("slug",)
    actions = ("suspend", "resume")
    inlines = (DomainInline,)
    fields = (
        "slug",
        "name",
        "state",
        "plan",
        "server",
        "database",
        "role",
        "epoch",
        "schema_version",
        "created_at",
        "id",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        hidden = {"show_save": False, "show_save_and_continue": False, "show_save_and_add_another": False}
        return super().changeform_view(request, object_id, form_url, {**hidden, **(extra_context or {})})

    @admin.display(description="schema", ordering="schema_version")
    def schema(self, tenant: Tenant) -> str:
        """Enough of the version to tell two apart."""
        return tenant.schema_version[:8]

    @admin.display(description="activity")
    def activity(self, tenant: Tenant) -> SafeString:
        address = reverse("admin:activity_loggedevent_changelist")
        return format_html('<a href="{}?tenant={}">Look at the log</a>', address, tenant.slug)

    @admin.action(description="Suspend: their hosts answer 403 until resumed", permissions=["change"])
    def suspend(self, request: HttpRequest, tenants: QuerySet[Tenant]) -> None:
        """Suspend each of the chosen tenants."""
        self._for_each(request, tenants, control.tenant_suspend, "suspended")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, tenants: QuerySet[Tenant]) -> None:
        """Resume each of the chosen tenants."""
        self._for_each(request, tenants, control.tenant_resume, "resumed")

    def _for_each(self, request: HttpRequest, tenants: QuerySet[Tenant], service: Any, done: str) -> None:
        changed = 0
        for tenant in tenants:
            try:
                service(tenant=tenant)
            except TenantryError as error:
                self.message_user(request, f"{tenant.slug}: {error.message}", messages.ERROR)
            else:
                changed += 1
                self.log_change(request, tenant, done)
        if changed:
            self.message_user(request, f"{changed} {done}.", messages.SUCCESS)
