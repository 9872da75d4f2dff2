"""`web` with a view that waits in Postgres: the peer of what `stream` does natively."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path

from config.wsgi import application


def sleep(request: HttpRequest) -> JsonResponse:
    """Waits in Postgres for `s` seconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [float(request.GET.get("s", "0.1"))])
    return JsonResponse({"slept": True})


urlpatterns = [path("sleep", sleep)]
settings.TENANT_URLCONF = __name__

__all__ = ["application"]
