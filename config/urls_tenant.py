"""A tenant's host: its pages and its API. The control host has config.urls.

Of django-allauth's views these are all that is reached: its sign-up, e-mail management and connections are not.
"""

from __future__ import annotations

from allauth.account import views as allauth
from django.urls import path, re_path

from accounts.access import read_access, write_access
from accounts.views import dashboard, members, outbox, settings, sign_in, tokens, transfers
from activity import search_views as searches
from activity import views as activity
from activity.archive import views as archive
from activity.jobs import file_views as job_files
from activity.jobs import views as jobs
from activity.proof import views as proof
from activity.schedules import views as schedules
from activity.usage import views as usage
from activity.webhooks import views as webhooks
from config.api import tenant_api

handler400 = "accounts.views.errors.bad_request"
handler403 = "accounts.views.errors.permission_denied"
handler404 = "accounts.views.errors.page_not_found"
handler500 = "accounts.views.errors.server_error"

urlpatterns = [
    path("api/v1/", tenant_api.urls),
    path("", dashboard.dashboard, name="dashboard"),
    path("members", members.member_list, name="member_list"),
    path("members/import", transfers.members_import, name="members_import"),
    path("members/import/upload", transfers.members_import_upload, name="members_import_upload"),
    path("members/import/<uuid:waiting_id>", transfers.members_import_columns, name="members_import_columns"),
    path("members/import/<uuid:waiting_id>/start", transfers.members_import_start, name="members_import_start"),
    path("members/import/<uuid:waiting_id>/remove", transfers.members_import_remove, name="members_import_remove"),
    path("members/export", transfers.members_export, name="members_export"),
    path("members/<uuid:member_id>", members.member_detail, name="member_detail"),
    path("members/<uuid:member_id>/update", members.member_update, name="member_update"),
    path("members/<uuid:member_id>/role", members.member_role, name="member_role"),
    path("members/<uuid:member_id>/deactivate", members.member_deactivate, name="member_deactivate"),
    path("members/<uuid:member_id>/reactivate", members.member_reactivate, name="member_reactivate"),
    path("members/<uuid:member_id>/remove", members.member_remove, name="member_remove"),
    path("invitations", members.invitation_create, name="invitation_create"),
    path("invitations/<uuid:invitation_id>/revoke", members.invitation_revoke, name="invitation_revoke"),
    # activity is below accounts, so its pages can't import who may see them.
    path("activity", read_access("activity.read")(activity.activity), name="activity"),
    path("activity/verify", read_access("activity.read")(proof.proof), name="activity_proof"),
    path(
        "activity/verify/start",
        write_access("jobs.write")(proof.verification_start),
        name="activity_verification_start",
    ),
    path("activity/verify/file", write_access("jobs.write")(proof.proof_file_start), name="activity_proof_file_start"),
    path("activity/retention", write_access("tenant.write")(proof.retention_update), name="activity_retention_update"),
    path("activity/searches", write_access("profile.write")(searches.search_create), name="search_create"),
    path(
        "activity/searches/<uuid:search_id>/delete",
        write_access("profile.write")(searches.search_delete),
        name="search_delete",
    ),
    path("activity/export", write_access("jobs.write")(jobs.activity_export), name="activity_export"),
    path("jobs", read_access("jobs.read")(jobs.job_list), name="job_list"),
    path("jobs/schedules", read_access("jobs.read")(schedules.schedule_list), name="schedule_list"),
    path("jobs/schedules/create", write_access("jobs.write")(schedules.schedule_create), name="schedule_create"),
    path(
        "jobs/schedules/<uuid:schedule_id>",
        read_access("jobs.write")(schedules.schedule_detail),
        name="schedule_detail",
    ),
    *(
        path(f"jobs/schedules/<uuid:schedule_id>/{name}", write_access("jobs.write")(view), name=f"schedule_{name}")
        for name, view in {
            "update": schedules.schedule_update,
            "pause": schedules.schedule_pause,
            "resume": schedules.schedule_resume,
            "run": schedules.schedule_run,
            "delete": schedules.schedule_delete,
        }.items()
    ),
    path("jobs/<uuid:job_id>", read_access("jobs.read")(jobs.job_detail), name="job_detail"),
    path("jobs/<uuid:job_id>/retry", write_access("jobs.write")(jobs.job_retry), name="job_retry"),
    path("jobs/<uuid:job_id>/cancel", write_access("jobs.write")(jobs.job_cancel), name="job_cancel"),
    path("jobs/<uuid:job_id>/link", write_access("jobs.write")(job_files.job_link), name="job_link"),
    path(
        "jobs/<uuid:job_id>/file", job_files.job_file, name="job_file"
    ),  # who comes with a signed link needs no session
    path("webhooks", read_access("webhooks.read")(webhooks.webhook_list), name="webhook_list"),
    path("webhooks/create", write_access("webhooks.write")(webhooks.webhook_create), name="webhook_create"),
    path("webhooks/<uuid:webhook_id>", read_access("webhooks.read")(webhooks.webhook_detail), name="webhook_detail"),
    *(
        path(f"webhooks/<uuid:webhook_id>/{name}", write_access("webhooks.write")(view), name=f"webhook_{name}")
        for name, view in {
            "update": webhooks.webhook_update,
            "switch": webhooks.webhook_switch,
            "secret": webhooks.webhook_secret,
            "test": webhooks.webhook_test,
            "remove": webhooks.webhook_remove,
        }.items()
    ),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/resend",
        write_access("webhooks.write")(webhooks.delivery_resend),
        name="delivery_resend",
    ),
    path("usage", read_access("usage.read")(usage.usage), name="usage"),
    path("tokens", tokens.token_list, name="token_list"),
    path("tokens/create", tokens.token_create, name="token_create"),
    path("tokens/<uuid:token_id>/revoke", tokens.token_revoke, name="token_revoke"),
    path("settings", settings.settings, name="settings"),
    path("settings/organisation", settings.organisation_update, name="organisation_update"),
    path("settings/archive", write_access("tenant.archive")(archive.archive_start), name="archive_start"),
    path("settings/profile", settings.profile_update, name="profile_update"),
    path("settings/erase", settings.person_erase, name="person_erase"),
    path("settings/password", settings.password_update, name="password_update"),
    # Ways in and out.
    path("login", allauth.login, name="account_login"),
    path("logout", allauth.logout, name="account_logout"),
    path("inactive", allauth.account_inactive, name="account_inactive"),
    path("password/reset", allauth.password_reset, name="account_reset_password"),
    path("password/reset/sent", allauth.password_reset_done, name="account_reset_password_done"),
    path("password/reset/done", allauth.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    re_path(
        r"^password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)$",
        allauth.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("invitations/<str:secret>", sign_in.invitation_accept, name="invitation_accept"),
    path("sign-in/<str:secret>", sign_in.sign_in_link, name="sign_in_link"),
    # In development alone.
    path("outbox", outbox.outbox, name="outbox"),
    path("outbox/<str:mail_id>", outbox.outbox_mail, name="outbox_mail"),
]
