"""Django's own tests, out of the source distribution of the installed version: the wheel doesn't have them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import django

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
# What the tests of django.contrib.auth need of the folder `tests`.
NEEDED = ("auth_tests/", "mail/", "templates/", "urls.py")


def pinned() -> tuple[str, list[str]]:
    """The installed Django as requirements.txt names it, and the SHA-256 digests that it gives. Raises LookupError without them."""
    requirement = f"django=={django.get_version()}"
    entry = re.search(rf"^{re.escape(requirement)} \\\n((?: +--hash=sha256:.*\n)+)", REQUIREMENTS.read_text(), re.M)
    if entry is None:
        raise LookupError(f"requirements.txt has no hashes of {requirement}, which is installed")
    return requirement, re.findall(r"sha256:([0-9a-f]{64})", entry[1])


def fetch(folder: Path) -> Path:
    """The archive, from `folder` when an earlier run left it there and from the package index otherwise."""
    requirement, digests = pinned()
    archive = folder / f"{requirement.replace('==', '-')}.tar.gz"
    if not archive.exists():
        wanted = folder / "requirements.txt"
        wanted.write_text(" ".join([requirement, *(f"--hash=sha256:{digest}" for digest in digests)]))
        # pip asks the archive for its metadata, which needs Django's build backend, and builds nothing.
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            + ["--no-binary=django", f"--requirement={wanted}", f"--dest={folder}"],
            check=True,
        )
    if hashlib.sha256(archive.read_bytes()).hexdigest() not in digests:
        archive.unlink()
        raise ValueError(f"{archive.name} has none of the SHA-256 digests in requirements.txt and was removed")
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Put what is needed of the archive's `tests` into `folder`."""
    with tarfile.open(archive) as packed:
        for member in packed:
            _, _, name = member.name.partition("/tests/")
            if name.startswith(NEEDED):
                member.name = name
                packed.extract(member, folder, filter="data")
