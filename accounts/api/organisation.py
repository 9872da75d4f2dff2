"""`/me` and `/tenant`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from accounts.api.access import caller
from accounts.api.schemas import MeOut, TenantOut, TenantPatch
from accounts.services.tenant import tenant_update
from tenants import time_zones
from tenants.context import current_tenant
from tenants.refs import TenantRef

router = Router(tags=["Organisation"])


@router.get("/me", response=MeOut, summary="Who the token or session belongs to")
def me(request: HttpRequest) -> dict[str, Any]:
    user = caller(request).user
    return {"id": user.pk, "email": user.email, "name": user.name, "role": user.role, "tenant": current_tenant()}


@router.get("/tenant", response=TenantOut, summary="The organisation")
def tenant_get(request: HttpRequest) -> dict[str, Any]:
    caller(request).require("tenant.read")
    return _shown(current_tenant())


@router.patch("/tenant", response=TenantOut, summary="Change the organisation's name or time zone")
def tenant_patch(request: HttpRequest, body: TenantPatch) -> dict[str, Any]:
    caller(request).require("tenant.write")
    return _shown(tenant_update(**body.model_dump(exclude_unset=True)))


def _shown(ref: TenantRef) -> dict[str, Any]:
    shown = {name: getattr(ref, name) for name in ("id", "slug", "name", "plan", "state")}
    return {**shown, "time_zone": time_zones.of_tenant(ref)}
