"""What people type, and the exit code and the sentence that they get."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import ManagementUtility

from accounts.models import User
from tenants import directory
from tenants.context import use_control, use_tenant
from tenants.errors import TenantNotFound
from tenants.models import Tenant

Run = Callable[..., tuple[int, str, str]]

OWNER = ("--owner-email", "ada@initech.example", "--owner-password-stdin")
PASSWORD = "correct horse battery staple"


@pytest.fixture
def run(control: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as manage.py does: its exit code, and what it wrote to standard output and error."""

    def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", StringIO(stdin))
        capsys.readouterr()
        argv = ["manage.py", *words]
        code = 0
        try:
            ManagementUtility(argv).fetch_command(words[0]).run_from_argv(argv)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def initech(run: Run) -> str:
    code, _, error = run("tenant_create", "initech", "--name", "Initech", *OWNER, stdin=f"{PASSWORD}\n")
    assert code == 0, error
    return "initech"


def test_create_makes_an_organisation_whose_owner_signs_in(run: Run) -> None:
    code, out, _ = run("tenant_create", "initech", "--json", "--plan", "team", *OWNER, stdin=f"{PASSWORD}\n")
    facts = json.loads(out)
    assert code == 0
    assert (facts["slug"], facts["name"], facts["state"], facts["plan"]) == ("initech", "initech", "active", "team")
    with use_tenant(directory.by_slug("initech")):
        owner = User.objects.get()
        assert (owner.email, owner.role, owner.check_password(PASSWORD)) == ("ada@initech.example", "owner", True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tenant_create", "admin", *OWNER), "The address 'admin' is reserved; choose another."),
        (("tenant_create", "initech", "--server", "nowhere", *OWNER), "finding a server that is open"),
        (("tenant_suspend", "nobody"), "There is no organisation with the slug 'nobody'."),
        (("tenant_run", "nobody", "check"), "There is no organisation with the slug 'nobody'."),
        (("tenant_run", "--all"), "required"),
        (("tenant_delete", "nobody", "--yes"), "There is no organisation with the slug 'nobody'."),
    ],
)
def test_a_refusal_is_one_sentence_on_standard_error(run: Run, words: tuple[str, ...], sentence: str) -> None:
    code, out, error = run(*words, stdin=f"{PASSWORD}\n")
    assert code != 0
    assert out == ""
    assert sentence in error
    assert "Traceback" not in error
    assert not Tenant.objects.filter(slug="initech").exists()


def test_a_weak_password_is_refused(run: Run) -> None:
    code, _, error = run("tenant_create", "initech", *OWNER, stdin="123\n")
    assert code == 1
    assert "too short" in error.lower()


def test_list_tells_programs_and_people(run: Run, initech: str) -> None:
    facts = json.loads(run("tenant_list", "--json")[1])
    assert [tenant["slug"] for tenant in facts] == ["acme", "globex", "initech"]
    assert "Initech" in run("tenant_list")[1]
    assert json.loads(run("tenant_list", "--json", "--state", "suspended")[1]) == []


def test_suspend_and_resume(run: Run, initech: str) -> None:
    assert run("tenant_suspend", initech)[:2] == (0, "Suspended initech\n")
    assert Tenant.objects.get(slug=initech).state == "suspended"
    assert run("tenant_resume", initech)[:2] == (0, "Resumed initech\n")
    assert Tenant.objects.get(slug=initech).state == "active"


def test_rotate_gives_a_new_password_and_epoch(run: Run, initech: str) -> None:
    former = directory.by_slug(initech)
    assert run("tenant_rotate", initech)[:2] == (0, "Rotated the credentials of initech; its route has epoch 2\n")
    ref = directory.by_slug(initech)
    assert (ref.epoch, ref.password == former.password) == (2, False)
    with use_tenant(ref):
        assert User.objects.count() == 1
    assert "epoch" in json.loads(run("tenant_rotate", initech, "--json")[1])
    assert run("tenant_rotate", "nobody")[0] == 1


def test_delete_asks_for_the_slug_again(run: Run, initech: str) -> None:
    assert run("tenant_delete", initech, stdin="globex\n")[0] == 1
    assert run("tenant_delete", initech)[0] == 1, "without anybody to ask"
    assert directory.by_slug(initech)
    assert run("tenant_delete", initech, stdin="initech\n")[0] == 0
    with pytest.raises(TenantNotFound):
        directory.by_slug(initech)


def test_djangos_own_commands_work_inside_a_tenant(run: Run, initech: str, tmp_path: Path) -> None:
    dump = tmp_path / "users.json"
    for words in (
        ("migrate", "--check"),
        ("makemigrations", "--check", "--dry-run"),
        ("showmigrations", "accounts"),
        ("sqlmigrate", "accounts", "0001"),
        ("createsuperuser", "--noinput", "--email", "root@initech.example"),
        ("dumpdata", "accounts.user", "--output", str(dump)),
    ):
        code, _, error = run("tenant_run", initech, *words)
        assert code == 0, (words, error)
    with use_tenant(directory.by_slug(initech)):
        User.objects.all().delete()
    assert run("tenant_run", initech, "loaddata", str(dump))[0] == 0
    with use_tenant(directory.by_slug(initech)):
        assert set(User.objects.values_list("email", flat=True)) == {"ada@initech.example", "root@initech.example"}
    with use_control():
        assert not User.objects.filter(email__endswith="@initech.example").exists(), "control has got none of it"


def test_a_commands_exit_code_is_kept(run: Run, initech: str) -> None:
    assert run("tenant_run", initech, "shell", "-c", "import sys; sys.exit(7)")[0] == 7
    code, _, error = run("tenant_run", initech, "loaddata", "nothing-there")
    assert code == 1
    assert "No fixture named 'nothing-there' found." in error


def test_a_command_in_every_tenant_goes_on_after_a_failure(run: Run, initech: str) -> None:
    say = "from tenants.context import current; import sys; print(current().slug); sys.exit(current().slug == 'acme')"
    code, out, error = run("tenant_run", "--json", "--all", "shell", "--no-imports", "-c", say)
    facts = {fact["tenant"]: (fact["exit_code"], fact["output"]) for fact in json.loads(out)}
    assert facts == {"acme": (1, "acme\n"), "globex": (0, "globex\n"), "initech": (0, "initech\n")}
    assert (code, error.strip()) == (1, "shell failed in acme.")


def test_prepare_again_changes_nothing(run: Run) -> None:
    code, out, _ = run("prepare", "--json")
    facts: dict[str, Any] = json.loads(out)
    assert code == 0
    assert facts["templates"] == {"local": "current"}
    assert (facts["reaped"], facts["migrated"], facts["failed"]) == ([], [], {})
