"""The operators' API on the control host: tenants and servers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Status

from accounts import control
from accounts.api.access import caller
from accounts.api.schemas import (
    ControlTenantOut,
    ControlTenantPatch,
    NewTenantIn,
    NewTenantOut,
    PageIn,
    PageOut,
    ServerOut,
)
from accounts.idempotency import spans_databases
from accounts.signup import tenant_sign_up
from tenants.models import Tenant
from tenants.pages import Page

router = Router(tags=["Operators"])


@router.get("/tenants", response=PageOut[ControlTenantOut], summary="List tenants, oldest first")
def tenant_list(request: HttpRequest, page: Query[PageIn]) -> Page[Tenant]:
    caller(request).require("tenant.read")
    return control.tenant_page(limit=page.limit, cursor=page.cursor)


@router.post("/tenants", response={201: NewTenantOut}, summary="Make a tenant with its owner")
@spans_databases
def tenant_create(request: HttpRequest, body: NewTenantIn) -> Status[dict[str, Any]]:
    """The answer has an API token of the owner, shown this once."""
    caller(request).require("tenant.write")
    made = tenant_sign_up(**body.model_dump(), token_name="Made with the organisation", by_owner=False)  # noqa: S106
    tenant = control.tenant_get(made.tenant.slug)
    return Status(201, {**ControlTenantOut.from_orm(tenant).dict(by_alias=True), "token": made.token})


@router.get("/tenants/{slug}", response=ControlTenantOut, summary="A tenant")
def tenant_get(request: HttpRequest, slug: str) -> Tenant:
    caller(request).require("tenant.read")
    return control.tenant_get(slug)


@router.patch("/tenants/{slug}", response=ControlTenantOut, summary="Change a tenant's name or plan")
def tenant_patch(request: HttpRequest, slug: str, body: ControlTenantPatch) -> Tenant:
    caller(request).require("tenant.write")
    return control.tenant_update(tenant=control.tenant_get(slug), changes=body.model_dump(exclude_unset=True))


@router.delete("/tenants/{slug}", response={204: None}, summary="Delete a tenant, its database and its role")
def tenant_delete(request: HttpRequest, slug: str) -> Status[None]:
    caller(request).require("tenant.write")
    control.tenant_delete(tenant=control.tenant_get(slug))
    return Status(204, None)


@router.post("/tenants/{slug}/suspend", response=ControlTenantOut, summary="Stop serving a tenant")
def tenant_suspend(request: HttpRequest, slug: str) -> Tenant:
    """Its hosts answer 403 within a second. Nothing of it is changed or lost."""
    caller(request).require("tenant.write")
    return control.tenant_suspend(tenant=control.tenant_get(slug))


@router.post("/tenants/{slug}/resume", response=ControlTenantOut, summary="Serve a suspended tenant again")
def tenant_resume(request: HttpRequest, slug: str) -> Tenant:
    caller(request).require("tenant.write")
    return control.tenant_resume(tenant=control.tenant_get(slug))


@router.get("/servers", response=list[ServerOut], summary="Servers with their tenants and the lag of their replicas")
def server_list(request: HttpRequest) -> list[dict[str, Any]]:
    caller(request).require("tenant.read")
    return control.servers()
