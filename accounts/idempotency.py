"""POSTs with an `Idempotency-Key` take effect once.

The key, the effect and the answer commit in one transaction, so there is no moment at which one exists without the others. Within
24 hours the same key gives the same status and body; with another body it is refused (422), and while the first request runs, so are
others with its key (409). Only successes are kept: an error means that nothing was changed, so the request may simply be sent again.
A key belongs to its user. Kept answers are encrypted, for they may hold a token, and go when a person is erased from the log (409).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.auth import authenticate
from accounts.errors import IdempotencyConflict, InvalidField
from accounts.models import IdempotencyKey
from activity.jobs import uploads
from tenants import crypto, reads
from tenants.context import current

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
# A request that spans databases can't hold a transaction; after this long without an answer its process must have died.
LEASE = timedelta(minutes=10)

View = TypeVar("View", bound=Callable[..., Any])
Run = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class _Claim:
    user_id: UUID
    key: str
    fingerprint: str

    @property
    def associated(self) -> str:
        return f"idempotency:{current().id}:{self.user_id}:{self.key}"

    @property
    def lock(self) -> int:
        digest = hashlib.sha256(f"{self.user_id}:{self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def spans_databases(view: View) -> View:
    """Mark an operation that can't run inside a transaction, such as one that makes a tenant: its key is claimed first."""
    view._spans_databases = True  # type: ignore[attr-defined]
    return view


def takes_upload(view: View) -> View:
    """Mark an operation whose body is a file."""
    view._takes_upload = True  # type: ignore[attr-defined]
    return view


def idempotent(run: Run) -> Run:
    """A view decorator for a whole NinjaAPI: see the module."""
    operation: Any = run.__self__  # type: ignore[attr-defined]

    @wraps(run)
    def run_once(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST" or HEADER not in request.headers:
            return run(request, **kwargs)
        try:
            caller = authenticate(request)
            if caller is None:
                return run(request, **kwargs)  # which answers 401
            is_upload = getattr(operation.view_func, "_takes_upload", False)
            fingerprint = _fingerprint(request, is_upload=is_upload)
            claim = _Claim(caller.user.pk, _clean(request.headers[HEADER]), fingerprint)
            answer = _in_steps if getattr(operation.view_func, "_spans_databases", False) else _in_one_transaction
            return answer(claim, lambda: run(request, **kwargs))
        except Exception as error:  # to the API's one table of errors
            response: HttpResponseBase = operation.api.on_exception(request, error)
            return response

    return run_once


def _in_one_transaction(claim: _Claim, run: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    with transaction.atomic():
        former = _find(claim)
        if former is not None:
            return _replay(claim, former)
        response = run()
        if response.status_code >= 400:
            transaction.set_rollback(True)
        else:
            row = IdempotencyKey(user_id=claim.user_id, key=claim.key, fingerprint=claim.fingerprint)
            _keep(claim, row, response)
        return response


def _in_steps(claim: _Claim, run: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    with transaction.atomic():
        former = _find(claim)
        if former is not None:
            return _replay(claim, former)
        row = IdempotencyKey(user_id=claim.user_id, key=claim.key, fingerprint=claim.fingerprint)
        row.save(force_insert=True)
    response = run()
    with transaction.atomic():
        if response.status_code >= 400:
            row.delete()
        else:
            _keep(claim, row, response)
    return response


def _find(claim: _Claim) -> IdempotencyKey | None:
    """The kept answer, if there is one. Holds the key's lock until the transaction ends. Raises IdempotencyConflict."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [claim.lock])
        locked = cursor.fetchone()[0]
    if not locked:
        raise _in_flight()
    former = IdempotencyKey.objects.using("default").filter(user_id=claim.user_id, key=claim.key).first()
    if former is None:
        return None
    age = timezone.now() - former.created_at
    if age >= (LEASE if former.status is None else IdempotencyKey.LIFETIME):
        former.delete()
        return None
    if former.fingerprint != claim.fingerprint:
        raise IdempotencyConflict(f"This {HEADER} was used for another request; use a new one.", status=422)
    if former.status is None:
        raise _in_flight()
    return former


def _in_flight() -> IdempotencyConflict:
    return IdempotencyConflict(f"The first request with this {HEADER} still runs.", status=409, retry_after=1)


def _keep(claim: _Claim, row: IdempotencyKey, response: HttpResponseBase) -> None:
    row.status = response.status_code
    row.content_type = response.headers.get("Content-Type", "")
    row.body = crypto.encrypt(
        response.content if isinstance(response, HttpResponse) else b"", associated=claim.associated
    )
    row.save()


def _replay(claim: _Claim, row: IdempotencyKey) -> HttpResponse:
    if not row.body:
        raise IdempotencyConflict(
            f"The first request with this {HEADER} took effect; its answer was removed when a person was erased.",
            status=409,
        )
    reads.note_write()  # so that this answer says from where on the first one's write can be read
    body = crypto.decrypt(row.body, associated=claim.associated)
    return HttpResponse(body, status=row.status, content_type=row.content_type, headers={REPLAYED: "true"})


def _clean(key: str) -> str:
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise InvalidField(HEADER, "Use 1 to 255 printable ASCII characters.")
    return key


def _fingerprint(request: HttpRequest, *, is_upload: bool) -> str:
    digest = hashlib.sha256(request.get_full_path().encode())
    # An upload is digested while it is kept: it may be larger than what is held in memory.
    digest.update(b"\0" + (uploads.receive(request).sha256.encode() if is_upload else request.body))
    return digest.hexdigest()
