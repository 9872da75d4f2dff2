"""What A gave out is nothing on B: cookie, CSRF token, API token, reset link, invitation, sign-in link, cached page; and unknown hosts.

Both tenants hold a member with the same primary key, address and password hash, as a clone would, so that only the tenant
tells them apart. The control of each is the same thing on its own tenant, where it works.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from django.views.decorators.cache import cache_page

from accounts.models import ApiToken, Invitation, User
from accounts.secret_tokens import hash_secret, new_secret
from accounts.services.tokens import token_create
from accounts.signup import sign_in_link_create
from tenants.context import current, use_tenant
from tenants.db import pools
from tenants.refs import TenantRef

PASSWORD = "correct horse battery staple"
PK = UUID("0190a000-0000-7000-8000-00000000000a")


def host_of(ref: TenantRef) -> str:
    return f"{ref.slug}.localhost"


@pytest.fixture
def twins(acme: TenantRef, globex: TenantRef) -> tuple[TenantRef, TenantRef]:
    password = make_password(PASSWORD, hasher="md5")
    for ref in (acme, globex):
        with use_tenant(ref):
            User.objects.create(pk=PK, email="twin@people.example", name=ref.name, role="owner", password=password)
    return acme, globex


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def signed_in(ref: TenantRef, **options: Any) -> Client:
    client = Client(HTTP_HOST=host_of(ref), **options)
    with use_tenant(ref):
        client.force_login(User.objects.get())
    return client


def cookies_of(client: Client) -> str:
    return "; ".join(f"{name}={cookie.value}" for name, cookie in client.cookies.items())


def test_a_session_cookie_of_a_signs_nobody_in_on_b(twins: tuple[TenantRef, TenantRef]) -> None:
    a, b = twins
    cookies = cookies_of(signed_in(a))
    stolen = Client()
    assert stolen.get("/api/v1/me", HTTP_HOST=host_of(a), HTTP_COOKIE=cookies).json()["name"] == a.name
    assert stolen.get("/api/v1/me", HTTP_HOST=host_of(b), HTTP_COOKIE=cookies).status_code == 401
    assert stolen.get("/members", HTTP_HOST=host_of(b), HTTP_COOKIE=cookies).status_code == 302


def test_a_session_row_copied_from_a_into_b_does_not_decode(twins: tuple[TenantRef, TenantRef]) -> None:
    from django.contrib.sessions.models import Session

    a, b = twins
    client = signed_in(a)
    with use_tenant(a):
        row = Session.objects.values().get()
    with use_tenant(b):
        Session.objects.create(**row)
    assert Client().get("/api/v1/me", HTTP_HOST=host_of(b), HTTP_COOKIE=cookies_of(client)).status_code == 401


def csrf_token(client: Client, path: str = "/settings") -> str:
    page = client.get(path).content.decode()
    return page.split('name="csrfmiddlewaretoken" value="', 1)[1].split('"', 1)[0]


def test_a_csrf_token_of_a_is_refused_on_b(twins: tuple[TenantRef, TenantRef]) -> None:
    a, b = twins
    clients = {ref: signed_in(ref, enforce_csrf_checks=True) for ref in twins}
    tokens = {ref: csrf_token(client) for ref, client in clients.items()}
    form = {"name": "Changed"}
    assert clients[b].post("/settings/profile", {**form, "csrfmiddlewaretoken": tokens[a]}).status_code == 403
    assert clients[b].post("/settings/profile", form).status_code == 403
    assert clients[b].post("/settings/profile", {**form, "csrfmiddlewaretoken": tokens[b]}).status_code in (200, 302)


def test_an_api_token_of_a_is_refused_on_b(twins: tuple[TenantRef, TenantRef]) -> None:
    a, b = twins
    with use_tenant(a):
        _, secret = token_create(user=User.objects.get(), name="of a")
    for ref, status in ((a, 200), (b, 401)):
        answer = Client().get("/api/v1/me", HTTP_HOST=host_of(ref), headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == status
    with use_tenant(b):
        assert not ApiToken.objects.exists()


def test_a_reset_link_of_a_is_refused_on_b(twins: tuple[TenantRef, TenantRef]) -> None:
    a, b = twins
    with use_tenant(a):
        user = User.objects.get()
        path = f"/password/reset/{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    for ref, valid in ((a, True), (b, False)):
        client = Client(HTTP_HOST=host_of(ref))
        page = client.get(path, follow=True).content.decode()
        assert ('name="password1"' in page) is valid


def test_a_reset_mail_leads_to_its_own_host(twins: tuple[TenantRef, TenantRef], settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    for ref in twins:
        Client(HTTP_HOST=host_of(ref)).post("/password/reset", {"email": "twin@people.example"})
        assert f"//{host_of(ref)}" in mail.outbox[-1].body


def test_an_invitation_and_a_sign_in_link_of_a_are_refused_on_b(twins: tuple[TenantRef, TenantRef]) -> None:
    a, b = twins
    with use_tenant(a):
        user = User.objects.get()
        link = sign_in_link_create(user=user)
        invitation = new_secret()
        Invitation.objects.create(
            email="new@people.example",
            token_hash=hash_secret(invitation),
            invited_by=user,
            expires_at=timezone.now() + Invitation.LIFETIME,
        )
    assert Client().get(f"/invitations/{invitation}", HTTP_HOST=host_of(b)).status_code == 410
    assert Client().get(f"/invitations/{invitation}", HTTP_HOST=host_of(a)).status_code == 200
    # The link's page is a button; pressing it is what uses the link up.
    assert Client().post(f"/sign-in/{link}", HTTP_HOST=host_of(b)).status_code == 410
    assert Client().post(f"/sign-in/{link}", HTTP_HOST=host_of(a)).status_code == 302


@cache_page(60)
def cached_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(current().slug)


def test_a_cached_page_of_a_is_absent_from_b(twins: tuple[TenantRef, TenantRef]) -> None:
    """The very same request: only the active tenant differs."""
    for _ in range(2):
        for ref in twins:
            with use_tenant(ref):
                assert (
                    cached_page(RequestFactory().get("/page", HTTP_HOST="same.localhost")).content == ref.slug.encode()
                )


def test_ids_of_another_tenant_look_like_ids_of_nobody(twins: tuple[TenantRef, TenantRef]) -> None:
    a, b = twins
    with use_tenant(a):
        foreign = User.objects.create(email="only-in-a@people.example").pk
    client = signed_in(b)
    answers = []
    for member_id in (foreign, UUID("0190a000-0000-7000-8000-0000000000ff")):
        answer = client.get(f"/api/v1/members/{member_id}")
        assert answer.status_code == 404
        answers.append({key: value for key, value in answer.json().items() if key != "request_id"})
    assert answers[0] == answers[1]


UNKNOWN_HOSTS = [
    "nobody.localhost", "localhost.evil.example", "acme.localhost.evil.example", "evil.example", "xacme.localhost",
    "acme.acme.localhost", ".localhost", "acme..localhost", "acme.localhost@evil.example", "acme.localhost/evil",
    "acme%2elocalhost", "acme.localhost\tx", "tenantry", "", " ", "a" * 300 + ".localhost", "acmé.localhost",
    "acme.localhost:80:80", "[::1", "*.localhost", "_.localhost", "-acme.localhost", "acme-.localhost", "169.254.169.254",
    "acme.localhost,globex.localhost", "acme.localhost globex.localhost", "http://acme.localhost", "null", "..", "10.0.0.1:8000",
]  # fmt: skip


@pytest.mark.parametrize("host", UNKNOWN_HOSTS, ids=[repr(host)[:40] for host in UNKNOWN_HOSTS])
def test_an_unknown_host_gets_404_and_opens_no_connection_to_a_tenant(tenants: Any, host: str) -> None:
    before = {pool.name: pool.get_stats()["connections_num"] for pool in pools.all_pools()}
    answer = Client(raise_request_exception=False).get("/members", HTTP_HOST=host)
    assert answer.status_code in (400, 404)
    assert "sessionid" not in answer.cookies
    assert {pool.name: pool.get_stats()["connections_num"] for pool in pools.all_pools()} == before


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED", "HTTP_X_HOST", "HTTP_X_ORIGINAL_HOST"])
def test_no_other_header_chooses_the_tenant(twins: tuple[TenantRef, TenantRef], header: str) -> None:
    a, b = twins
    answer = Client().get("/login", HTTP_HOST=host_of(a), **{header: host_of(b)})
    assert answer.wsgi_request.tenant.id == a.id


@pytest.mark.parametrize("host", ["acme.localhost:8000", "ACME.LOCALHOST", "acme.localhost."])
def test_port_and_case_of_the_host_do_not_matter(twins: tuple[TenantRef, TenantRef], host: str) -> None:
    assert Client().get("/login", HTTP_HOST=host).wsgi_request.tenant.slug == "acme"


def test_members_never_reach_the_operators_admin(twins: tuple[TenantRef, TenantRef]) -> None:
    a, _ = twins
    with use_tenant(a):
        User.objects.update(is_staff=True, is_superuser=True)
    client = signed_in(a)
    assert client.get("/admin/").status_code == 404
    assert client.get("/admin/", HTTP_HOST="localhost").status_code == 302
    assert client.get("/control/api/v1/tenants").status_code == 404
