"""The control host: the public pages, operators, and what monitors ask. Tenants' hosts have config.urls_tenant."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from accounts.views import outbox, sign_up
from config.api import control_api
from tenants.health import ready_detail
from tenants.metrics import metrics_view

handler400 = "accounts.views.errors.bad_request"
handler403 = "accounts.views.errors.permission_denied"
handler404 = "accounts.views.errors.page_not_found"
handler500 = "accounts.views.errors.server_error"

urlpatterns = [
    path("", sign_up.landing, name="landing"),
    path("find", sign_up.find_organisation, name="find_organisation"),
    path("signup", sign_up.sign_up, name="signup"),
    path("signup/address", sign_up.address_proposal, name="address_proposal"),
    path("signup/slug", sign_up.slug_answer, name="slug_answer"),
    path("outbox", outbox.outbox, name="outbox"),
    path("outbox/<str:mail_id>", outbox.outbox_mail, name="outbox_mail"),
    path("admin/", admin.site.urls),
    path("control/api/v1/", control_api.urls),
    # /live and a bare /ready answer on every host (tenants.health.HealthMiddleware).
    path("ready", ready_detail, name="ready"),
    path("metrics", metrics_view, name="metrics"),
]
