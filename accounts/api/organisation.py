"""`/me` and `/tenant`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from accounts.api.access import caller
from accounts.api.schemas import MeOut, TenantOut, TenantPatch
from accounts.services.tenant import tenant_update
from tenants.context import current_tenant
from tenants.refs import TenantRef

router = Router(tags=["Organisation"])


@router.get("/me", response=MeOut, summary="Who the token or session belongs to")
def me(request: HttpRequest) -> dict[str, Any]:
    user = caller(request).user
    return {"id": user.pk, "email": user.email, "name": user.name, "role": user.role, "tenant": current_tenant()}


@router.get("/tenant", response=TenantOut, summary="The organisation")
def tenant_get(request: HttpRequest) -> TenantRef:
    caller(request).require("tenant.read")
    return current_tenant()


@router.patch("/tenant", response=TenantOut, summary="Rename the organisation")
def tenant_patch(request: HttpRequest, body: TenantPatch) -> TenantRef:
    caller(request).require("tenant.write")
    changes = body.model_dump(exclude_unset=True)
    return tenant_update(**changes) if changes else current_tenant()
