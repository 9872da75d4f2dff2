"""docs/your-own-app.md is true: its files, as they stand there, make an app whose tests pass in real tenants."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "your-own-app.md").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The page's code blocks that begin with a path, each in its file."""
    for path, code in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    (tmp_path / "invoices" / "__init__.py").touch()
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tenants.testing"]\n')
    (tmp_path / "with_invoices.py").write_text('from config.settings import *\n\nINSTALLED_APPS += ["invoices"]\n')
    return tmp_path


def test_the_app_of_the_tutorial_works_in_every_tenant(project: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "with_invoices",
        "PYTHONPATH": str(project),
        # A control database of its own beside those of the other test processes: its tenants have another schema.
        "PYTEST_XDIST_WORKER": "tutorial",
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-W", "error", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # It would look into the databases of this run, which are another schema's; the migration is all that is wanted.
    run("-W", "ignore:Got an error checking", "manage.py", "makemigrations", "invoices")
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "--ds", "with_invoices"]
    assert "4 passed" in run("-m", "pytest", *settings, "-p", "no:cacheprovider", "-q", str(project / "tests"))
    asked = "import django; django.setup(); from celery import current_app; import invoices.tasks; print(*current_app.tasks)"
    assert "invoices.remind" in run("-c", asked).split()
