"""The ledger of erasures, as operators see it: read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from tenants.models import Erasure, Tenant
from tenants.refs import CONTROL


@admin.register(Erasure)
class ErasureAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Whose logs somebody was erased from, when and by whom. Who that was is not known any more."""

    list_display = ("organisation", "subject", "erased_by", "erased_at", "finished_at")
    list_display_links = None
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("owner", "subject")
    search_help_text = "Part of an organisation's id, or of a digest"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="organisation", ordering="owner")
    def organisation(self, erasure: Erasure) -> str:
        """By its address, where it still has one."""
        if erasure.owner == CONTROL.id:
            return CONTROL.slug
        return Tenant.objects.filter(pk=erasure.owner).values_list("slug", flat=True).first() or erasure.owner
