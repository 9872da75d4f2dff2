"""The documents name what exists: variables, commands, targets, files."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXT = "\n".join(page.read_text() for page in PAGES)
CODE = [*ROOT.glob("config/*.py"), *ROOT.glob("tenants/**/*.py"), *ROOT.glob("accounts/**/*.py")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_variable_that_is_read_is_documented() -> None:
    source = "\n".join(file.read_text() for file in CODE)
    read = set(re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", source))
    read |= set(re.findall(r"\benviron\.get\(\"([A-Z_]+)\"", (ROOT / "config/gunicorn_conf.py").read_text()))
    page = (ROOT / "docs/configuration.md").read_text()
    assert len(read) > 15
    assert [name for name in sorted(read) if f"`{name}`" not in page] == []


def test_every_documented_variable_is_read() -> None:
    source = "\n".join(file.read_text() for file in CODE)
    named = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    for name in re.findall(r"`([A-Z_]+)`", " ".join(named)):
        assert f'"{name}"' in source, name


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.MULTILINE))
    assert named <= targets


def test_every_management_command_that_is_named_exists() -> None:
    named = set(re.findall(r"(?:manage\.py|`manage|^manage) ([a-z]+(?:_[a-z]+)*)", TEXT, re.MULTILINE))
    assert named >= {"prepare", "tenant_create", "fleet_migrate"}
    assert named - set(get_commands()) == set()
