"""`stream`: what waits (live tails, streamed downloads), and all that `web` serves. gunicorn's asgi worker runs it."""

import os
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("TENANTRY_PROCESS", "stream")

django = get_asgi_application()  # sets Django up: what follows imports models

from accounts import native_auth, native_routes  # noqa: E402
from activity import native_routes as activity_routes  # noqa: E402
from activity import tail  # noqa: E402
from tenants import health  # noqa: E402
from tenants.native import Application, NativeApplication, Route  # noqa: E402

application = NativeApplication(
    routes=[
        Route("/live", health.live),
        Route("/ready", health.ready, when=health.is_bare),
        *native_routes.ROUTES,
        *activity_routes.ROUTES,
    ],
    django=cast(Application, django),
    closers=[tail.close, native_auth.close],
)
