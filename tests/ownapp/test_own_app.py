"""A team's app and an unmodified third-party app (django-taggit) are tenant apps with no change."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from taggit.models import Tag

from tenants.context import use_control, use_tenant
from tenants.refs import TenantRef
from tenants.testing import TenantTestCase
from tests.notes.models import Note, note_copy


def tables() -> set[str]:
    return set(connection.introspection.table_names())


def test_its_tables_are_in_every_tenant_and_not_in_control(acme: TenantRef, globex: TenantRef) -> None:
    for ref in (acme, globex):
        with use_tenant(ref):
            assert {"notes_note", "taggit_tag", "taggit_taggeditem"} <= tables()
    with use_control():
        assert not {"notes_note", "taggit_tag"} & tables()


def test_its_rows_are_of_one_tenant(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        note = Note.objects.create(title="Plan")
        note.tags.add("secret", "plan")
        copy = note_copy(note)
        assert sorted(copy.tags.names()) == ["plan", "secret"]
    with use_tenant(globex):
        assert not Note.objects.exists()
        assert not Tag.objects.exists()
        with pytest.raises(ValueError, match="can't be used in"):
            Note.objects.filter(tags__in=list_of(acme, note)).exists()
        with pytest.raises(ValueError, match="can't be used in"):
            note.save()
        assert not Note.objects.exists()


def list_of(ref: TenantRef, note: Note) -> list[Tag]:
    with use_tenant(ref):
        return list(note.tags.all())


def test_dumpdata_and_loaddata_carry_it_from_tenant_to_tenant(acme: TenantRef, globex: TenantRef, tmp_path) -> None:
    out = StringIO()
    with use_tenant(acme):
        Note.objects.create(title="Plan").tags.add("secret")
        call_command("dumpdata", "notes", "taggit", natural_foreign=True, stdout=out)
    fixture = tmp_path / "notes.json"
    fixture.write_text(out.getvalue())
    with use_tenant(globex):
        call_command("loaddata", str(fixture), verbosity=0)
        assert [str(note) for note in Note.objects.filter(tags__name="secret")] == ["Plan"]


@pytest.mark.django_db
class TestPytestDjango:
    """Tests that know nothing of tenants, marked as in any Django project."""

    def test_first(self) -> None:
        Note.objects.create(title="rolled back")
        assert Note.objects.count() == 1

    def test_second(self) -> None:
        assert Note.objects.count() == 0


@pytest.mark.django_db
def test_a_marked_function_runs_in_a_tenant() -> None:
    assert connection.settings_dict["NAME"].startswith("tenantry_t_")
    assert Note.objects.count() == 0


class InDjangosTestCase(TenantTestCase):
    """The kit for Django's TestCase."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.note = Note.objects.create(title="of acme")

    def test_class_data_is_there_and_the_other_tenant_is_beside(self) -> None:
        self.note.title = "changed"
        self.note.save()
        with use_tenant(self.globex):
            assert Note.objects.count() == 0
            Note.objects.create(title="of globex")

    def test_the_other_test_left_nothing_in_either(self) -> None:
        assert Note.objects.get().title == "of acme"
        with use_tenant(self.globex):
            assert Note.objects.count() == 0
