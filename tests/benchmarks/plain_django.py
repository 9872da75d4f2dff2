"""The peer: plain Django with one database and its native pool, in a process of its own, asked to `get()` by lines on stdin.

`python plain_django.py CONNECTION_JSON PRIMARY_KEY`; each line is a number of times, each answer the microseconds of one.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **json.loads(sys.argv[1])}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin
    from django.db import connection, models

    class User(AbstractBaseUser, PermissionsMixin):
        """accounts.models.User with the same columns, and nothing else of it."""

        id = models.UUIDField(primary_key=True)
        email = models.EmailField(max_length=254)
        name = models.CharField(max_length=200)
        role = models.CharField(max_length=10)
        is_active = models.BooleanField(default=True)
        is_staff = models.BooleanField(default=False)
        created_at = models.DateTimeField()
        session_epoch = models.PositiveIntegerField(default=0)
        groups = None
        user_permissions = None

        class Meta:
            app_label = "peer"
            db_table = "accounts_user"

    def get() -> None:
        User.objects.get(pk=sys.argv[2])
        connection.close()  # as at the end of a request: back into the pool

    get()
    print("ready", flush=True)
    for line in sys.stdin:
        times = int(line)
        started = time.perf_counter()
        for _ in range(times):
            get()
        print(1e6 * (time.perf_counter() - started) / times, flush=True)
    connection.close_pool()


if __name__ == "__main__":
    main()
