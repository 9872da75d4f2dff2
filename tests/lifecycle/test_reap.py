"""What a killed process left half-made is removed, and what somebody is at work on isn't."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Event, Thread

import pytest

from tenants.context import use_control
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.lifecycle.reap import reap_unfinished
from tenants.models import Tenant
from tenants.signals import tenant_deleted
from tests.lifecycle.conftest import PROJECT, reap_unfinished_now

pytestmark = pytest.mark.usefixtures("control")

Exists = Callable[[str], tuple[bool, bool]]

KILLED_IN_POPULATE = """
import os, signal, django
django.setup()
from tenants.lifecycle.provision import provision_tenant
provision_tenant(slug="initech", name="Initech", populate=lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_sign_up_that_was_killed_is_removed_after_a_while(exists: Exists) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_POPULATE], cwd=PROJECT, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    tenant = Tenant.objects.get(slug="initech")
    assert tenant.state == Tenant.State.PROVISIONING
    assert exists(tenant.database) == (True, True)

    assert reap_unfinished() == [], "within ten minutes it could still be at work"
    assert reap_unfinished_now() == ["initech"]
    assert exists(tenant.database) == (False, False)
    assert not Tenant.objects.filter(slug="initech").exists()


def test_one_that_is_still_being_made_is_left_alone() -> None:
    entered, go_on = Event(), Event()

    def populate() -> None:
        entered.set()
        go_on.wait(30)

    worker = Thread(target=lambda: provision_tenant(slug="initech", name="Initech", populate=populate))
    worker.start()
    assert entered.wait(30)
    assert reap_unfinished_now() == []
    go_on.set()
    worker.join(30)
    assert Tenant.objects.get(slug="initech").state == Tenant.State.ACTIVE


def test_a_deletion_that_was_broken_off_is_finished(exists: Exists) -> None:
    ref, _ = provision_tenant(slug="initech", name="Initech")

    def refuse(**arguments: object) -> None:
        raise ConnectionError("the log is away")

    tenant_deleted.connect(refuse)
    try:
        with pytest.raises(ConnectionError):
            delete_tenant(ref)
    finally:
        tenant_deleted.disconnect(refuse)
    with use_control():
        assert Tenant.objects.get(slug="initech").state == Tenant.State.DELETING
    assert reap_unfinished() == ["initech"]
    assert exists(ref.database) == (False, False)
