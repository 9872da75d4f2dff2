from __future__ import annotations

import re

from django.test import Client

ROUTES = {
    "/api/v1/me": {"get"},
    "/api/v1/tenant": {"get", "patch"},
    "/api/v1/members": {"get", "post"},
    "/api/v1/members/import": {"post"},
    "/api/v1/members.csv": {"get"},
    "/api/v1/members.ndjson": {"get"},
    "/api/v1/jobs": {"get", "post"},
    "/api/v1/jobs/{job_id}": {"get"},
    "/api/v1/jobs/{job_id}/cancel": {"post"},
    "/api/v1/jobs/{job_id}/result": {"get"},
    "/api/v1/jobs/{job_id}/report": {"get"},
    "/api/v1/activity/verify": {"get"},
    "/api/v1/activity/verify/keys": {"get"},
    "/api/v1/members/{member_id}": {"get", "patch", "delete"},
    "/api/v1/invitations": {"get", "post"},
    "/api/v1/invitations/{invitation_id}": {"delete"},
    "/api/v1/activity/batch": {"post"},
    "/api/v1/webhooks": {"get", "post"},
    "/api/v1/webhooks/{webhook_id}": {"get", "patch", "delete"},
    "/api/v1/webhooks/{webhook_id}/secret": {"post"},
    "/api/v1/webhooks/{webhook_id}/test": {"post"},
    "/api/v1/webhooks/{webhook_id}/deliveries": {"get"},
    "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend": {"post"},
    "/api/v1/schedules": {"get", "post"},
    "/api/v1/schedules/{schedule_id}": {"get", "patch", "delete"},
    "/api/v1/schedules/{schedule_id}/run": {"post"},
    "/api/v1/tokens": {"get", "post"},
    "/api/v1/tokens/{token_id}": {"delete"},
    "/api/v1/activity/stats": {"get"},
    "/api/v1/activity/searches": {"get", "post"},
    "/api/v1/activity/searches/{search_id}": {"delete"},
}
CONTROL_ROUTES = {
    "/control/api/v1/tenants": {"get", "post"},
    "/control/api/v1/tenants/{slug}": {"get", "patch", "delete"},
    "/control/api/v1/tenants/{slug}/suspend": {"post"},
    "/control/api/v1/tenants/{slug}/resume": {"post"},
    "/control/api/v1/servers": {"get"},
}


def _routes(host: str, url: str) -> dict[str, set[str]]:
    document = Client(HTTP_HOST=host).get(url).json()
    return {path: set(operations) for path, operations in document["paths"].items()}


def test_the_document_names_the_contracts_routes(acme: object) -> None:
    routes = _routes("acme.localhost", "/api/v1/openapi.json")
    assert {path: routes.get(path) for path in ROUTES} == ROUTES


def test_the_operators_document_names_theirs(acme: object) -> None:
    assert _routes("localhost", "/control/api/v1/openapi.json") == CONTROL_ROUTES


def test_the_page_holds_no_script_and_no_file_of_others(acme: object) -> None:
    answer = Client(HTTP_HOST="acme.localhost").get("/api/v1/docs")
    assert answer.status_code == 200
    page = answer.content.decode()
    for script in re.findall(r"<script([^>]*)>", page):
        assert 'src="/static/' in script or 'type="application/json"' in script
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)
    assert not re.findall(r"<style|\sstyle=|\son\w+=", page)
