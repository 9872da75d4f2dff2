"""Django's own tests, out of the source distribution of the installed version: the wheel doesn't have them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
# What the tests of django.contrib.auth need of the folder `tests`.
NEEDED = ("auth_tests/", "mail/", "templates/", "urls.py")


def fetch(folder: Path) -> Path:
    """The archive: from `folder` when an earlier run left it there, else from the package index. Its digest is checked either way."""
    requirement, digests = pinned()
    archive = folder / f"{requirement.replace('==', '-')}.tar.gz"
    if not archive.exists():
        download(requirement, digests, archive)
    if hashlib.sha256(archive.read_bytes()).hexdigest() not in digests:
        raise ValueError(f"{archive} has none of the SHA-256 digests that requirements.txt gives for {requirement}")
    return archive


def pinned() -> tuple[str, list[str]]:
    """The installed Django as requirements.txt names it, and its SHA-256 digests there. Raises LookupError when there are none."""
    requirement = f"django=={django.get_version()}"
    entry = re.search(rf"^{re.escape(requirement)} \\\n((?: +--hash=sha256:.*\n)+)", REQUIREMENTS.read_text(), re.M)
    if entry is None:
        raise LookupError(f"requirements.txt gives no digests of {requirement}, which is installed")
    return requirement, re.findall(r"sha256:([0-9a-f]{64})", entry[1])


def download(requirement: str, digests: list[str], archive: Path) -> None:
    """Have pip fetch the source distribution. Once the digest is right, pip asks the build backend for metadata; nothing is built."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(" ".join([requirement, *(f"--hash=sha256:{digest}" for digest in digests)]))
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "download", "--no-deps", "--no-binary=django", f"-r{wanted}", f"-d{folder}"], check=True)
        Path(folder, archive.name).rename(archive)


def unpack(archive: Path, folder: Path) -> None:
    """Put what is needed of the archive's `tests` into `folder`. Its digest was checked, so its names are trusted."""
    with tarfile.open(archive) as packed:
        for member in packed:
            name = member.name.partition("/tests/")[2]
            content = packed.extractfile(member) if name.startswith(NEEDED) else None
            if content is not None:  # a file
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
