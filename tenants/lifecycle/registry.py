"""The registry's servers, as settings.TENANT_SERVERS names them."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from tenants import context, servers
from tenants.models import Replica, Server


def seed_servers() -> list[str]:
    """Make or correct the rows of the servers in settings.TENANT_SERVERS and of their replicas; returns the names of all of these servers.

    A server that the settings don't name is left as it is: its tenants still live there.
    """
    with context.use_control(), transaction.atomic():
        for name, urls in settings.TENANT_SERVERS.items():
            server = Server.objects.filter(pk=name).first() or Server(name=name)
            if server._state.adding or server.url != urls["primary"]:
                server.url = urls["primary"]
                server.save()
            _seed_replicas(server, urls["replicas"])
    servers.forget_servers()
    return list(settings.TENANT_SERVERS)


def _seed_replicas(server: Server, urls: list[str]) -> None:
    known = {replica.name: replica for replica in server.replicas.all()}
    for number, url in enumerate(urls, start=1):
        replica = known.pop(f"replica{number}", None) or Replica(server=server, name=f"replica{number}")
        if replica._state.adding or replica.url != url:
            replica.url = url
            replica.save()
    server.replicas.filter(name__in=known).delete()
