"""The test suite of django.contrib.auth passes inside a tenant, but for the tests in deviations.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.django_suite import source

ROOT = Path(__file__).resolve().parents[2]


def test_the_suite_of_django_contrib_auth_passes_inside_a_tenant(
    pytestconfig: pytest.Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pytestconfig.cache is not None
    source.unpack(source.fetch(pytestconfig.cache.mkdir("django-source")), tmp_path)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.django_suite"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_TESTS": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    counts = done.stdout.splitlines()[-1]
    with capsys.disabled():
        print(f"\n{counts}")
    assert int(counts.split()[0]) > 800
