"""What belongs to A can't be used in B, and `default` means whoever is active, now and when it is remembered.

Both tenants hold a group and a user with the same primary keys, so that a leak would find something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Model
from django.db.models.base import ModelState
from django.utils.functional import SimpleLazyObject

from tenants.context import use_control, use_tenant
from tenants.db import guards
from tenants.errors import CrossTenant, NoTenant
from tenants.refs import TenantRef
from tests.notes.models import Note

User: Any = get_user_model()
PK = UUID("0190a000-0000-7000-8000-000000000001")


@pytest.fixture
def both(acme: TenantRef, globex: TenantRef) -> tuple[TenantRef, TenantRef]:
    for ref in (acme, globex):
        with use_tenant(ref):
            user = User.objects.create(pk=PK, email=f"someone@{ref.slug}.example")
            group = Group.objects.create(pk=1001, name=ref.slug)
            user.groups.add(group)
            LogEntry.objects.create(user=user, object_repr=ref.slug, action_flag=ADDITION)
    return acme, globex


@pytest.fixture
def of_acme(both: tuple[TenantRef, TenantRef]) -> Any:
    with use_tenant(both[0]):
        return User.objects.get()


@pytest.fixture
def group_of_acme(both: tuple[TenantRef, TenantRef]) -> Any:
    with use_tenant(both[0]):
        return Group.objects.get()


CROSSINGS: dict[str, Callable[[Any, Any], Any]] = {
    "save": lambda user, group: user.save(),
    "save(using='default')": lambda user, group: user.save(using="default"),
    "save(update_fields)": lambda user, group: group.save(update_fields=["name"]),
    "delete": lambda user, group: group.delete(),
    "delete(using='default')": lambda user, group: group.delete(using="default"),
    "refresh_from_db": lambda user, group: user.refresh_from_db(),
    "bulk_create": lambda user, group: Group.objects.bulk_create([group]),
    "bulk_create with update_conflicts": lambda user, group: Group.objects.bulk_create(
        [group], update_conflicts=True, update_fields=["name"], unique_fields=["id"]
    ),
    "bulk_update": lambda user, group: Group.objects.bulk_update([group], ["name"]),
    "update(fk=object)": lambda user, group: LogEntry.objects.update(user=user),
    "filter(fk=object)": lambda user, group: LogEntry.objects.filter(user=user).count(),
    "filter(fk__in=[object])": lambda user, group: LogEntry.objects.filter(user__in=[user]).count(),
    "filter(fk__in={object})": lambda user, group: LogEntry.objects.filter(user__in={user}).count(),
    "exclude(fk=object)": lambda user, group: LogEntry.objects.exclude(user=user).count(),
    "get_or_create(fk=object)": lambda user, group: LogEntry.objects.get_or_create(user=user, action_flag=ADDITION),
    "filter through a relation": lambda user, group: User.objects.filter(groups=group).count(),
    "assigning a foreign key": lambda user, group: LogEntry(user=user, action_flag=ADDITION),
    "create(fk=object)": lambda user, group: LogEntry.objects.create(user=user, action_flag=ADDITION),
    "many-to-many add": lambda user, group: User.objects.get().groups.add(group),
    "many-to-many remove": lambda user, group: User.objects.get().groups.remove(group),
    "many-to-many set": lambda user, group: User.objects.get().groups.set([group]),
    "reverse many-to-many add": lambda user, group: Group.objects.get().user_set.add(user),
    "following a relation of it": lambda user, group: list(user.groups.all()),
}


@pytest.mark.parametrize("crossing", CROSSINGS)
def test_an_object_of_a_is_refused_in_b(crossing: str, both: Any, of_acme: Any, group_of_acme: Any) -> None:
    with use_tenant(both[1]):
        group_of_acme.name = "stolen"
        with pytest.raises(ValueError, match=r"can't be used in|is on database|allow"), transaction.atomic():
            CROSSINGS[crossing](of_acme, group_of_acme)
        assert [group.name for group in Group.objects.all()] == ["globex"]
        assert [user.email for user in User.objects.all()] == ["someone@globex.example"]
        assert User.objects.get().groups.count() == 1


@pytest.mark.parametrize(
    "crossing", ["save(using='default')", "bulk_update", "filter(fk=object)", "delete(using='default')"]
)
def test_control_without_the_guards_the_object_crosses(
    crossing: str, both: Any, of_acme: Any, group_of_acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_check", lambda *args: None)
    with use_tenant(both[1]):
        CROSSINGS[crossing](of_acme, group_of_acme)


def test_an_object_is_refused_where_nobody_is_active(of_acme: Any) -> None:
    with pytest.raises(NoTenant):
        of_acme.save()


def test_a_lazy_object_such_as_request_user_counts_as_what_it_stands_for(both: Any, of_acme: Any) -> None:
    lazy = SimpleLazyObject(lambda: of_acme)
    with use_tenant(both[0]):
        assert LogEntry.objects.filter(user=lazy).count() == 1
    with use_tenant(both[1]), pytest.raises(CrossTenant):
        LogEntry.objects.filter(user=lazy).count()


def test_the_word_default_is_not_remembered_by_objects(both: Any) -> None:
    with use_tenant(both[0]) as ref:
        loaded = User.objects.using("default").get()
        assert loaded._state.db == ref.alias
        saved = Group(name="new")
        saved.save(using="default")
        assert saved._state.db == ref.alias
        loaded.groups.add(saved)
        loaded.save()
        assert User.objects.filter(groups__in=Group.objects.using("default").filter(name="new")).get() == loaded


def test_the_content_type_cache_is_never_keyed_by_the_word_default(both: Any) -> None:
    with use_tenant(both[1]), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("SELECT id FROM django_content_type WHERE model = 'user'")
        before = cursor.fetchone()[0]
        cursor.execute("UPDATE auth_permission SET content_type_id = content_type_id + 1000")
        cursor.execute("UPDATE django_content_type SET id = id + 1000")
        cursor.execute("UPDATE django_admin_log SET content_type_id = NULL")
    ContentType.objects.clear_cache()
    manager = ContentType.objects.db_manager("default")
    with use_tenant(both[0]):
        assert manager.get_for_model(User).pk == before
    with use_tenant(both[1]):
        assert manager.get_for_model(User).pk == before + 1000
        assert Permission.objects.filter(content_type=manager.get_for_model(User)).exists()
    ContentType.objects.clear_cache()


def test_a_queryset_that_names_a_tenants_alias_is_refused_in_another(both: Any) -> None:
    with use_tenant(both[0]):
        of_acme = User.objects.using("default")
    with use_tenant(both[1]), pytest.raises(CrossTenant):
        list(of_acme)


def test_the_guards_are_in_place() -> None:
    assert isinstance(ModelState.__dict__["db"], guards._OwnerOfObject)
    assert hasattr(Model.save_base, "__wrapped__")


def test_what_is_deleted_in_control_does_not_look_into_tables_of_tenants(acme: TenantRef) -> None:
    """`tests.notes` has a foreign key to the user model, and control has no notes."""
    with use_control():
        operator = User.objects.create(email="leaving@example.com")
        assert operator.delete()[0] == 1
    with use_tenant(acme):
        author = User.objects.create(email="author@acme.example")
        note = Note.objects.create(title="kept", author=author)
        author.delete()
        note.refresh_from_db()
        assert note.author is None
