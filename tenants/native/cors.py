"""Which page may read an answer of `stream`: the same host's, though its port be another one."""

from __future__ import annotations

from django.http.request import split_domain_port

from tenants.errors import TenantryError
from tenants.native.asgi import Scope
from tenants.native.security import is_secure
from tenants.origins import page_origin

OriginHeaders = dict[str, str]


class OriginRefused(TenantryError):
    """Raised when a page of another origin asks in the name of whoever is signed in here."""

    status = 403

    def __init__(self) -> None:
        super().__init__("This is for the pages of this host alone; programs send a token.")


def origin_headers(scope: Scope) -> OriginHeaders:
    """The headers by which a browser lets the page read the answer. Raises OriginRefused for the page of another host.

    Programs send no Origin, and browsers none to the page's own.
    """
    sent = {key: value.decode("latin-1") for key, value in scope["headers"] if key in {b"origin", b"host"}}
    origin, host = sent.get(b"origin"), sent.get(b"host", "")
    if origin is None or origin == f"{'https' if is_secure(scope) else 'http'}://{host}":
        return {"vary": "Origin"}
    name, _ = split_domain_port(host)
    if origin != page_origin(name.removesuffix(".")):
        raise OriginRefused()
    return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true", "vary": "Origin"}
