"""Postgres refuses to run as root: start it as somebody else, without changing the rights of any parent folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tenants.devstack.errors import DevstackError

NOBODY = 65534
_USER_NAMESPACE = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


@dataclass(frozen=True)
class Account:
    """Who runs a server: words to put before its command, or the user and group to start it as."""

    prefix: list[str] = field(default_factory=list)
    uid: int | None = None

    @property
    def popen_arguments(self) -> dict[str, Any]:
        """What subprocess.Popen needs to start a process as this account."""
        return {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def own(self, folder: Path) -> None:
        """Give the folder and all in it to the account that its files must belong to."""
        if os.geteuid() != 0:
            return
        uid = self.uid or 0
        if folder.stat().st_uid == uid:
            return
        for root, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(os.path.join(root, name), uid, uid, follow_symlinks=False)
        os.chown(folder, uid, uid)


@cache
def server_account(binary: Path) -> Account:
    """The account to run `binary` as: ours, or for root one that isn't. Raises DevstackError when root can't find any.

    A user namespace comes first: in it the process is no longer root and yet reaches what only root can read, such as a
    virtual environment below /root. Where namespaces are forbidden, `nobody` must be able to read the binaries.
    """
    if os.geteuid() != 0:
        return Account()
    if shutil.which("unshare") and _works([*_USER_NAMESPACE, str(binary), "--version"]):
        return Account(prefix=_USER_NAMESPACE)
    account = Account(uid=NOBODY)
    if _works([str(binary), "--version"], **account.popen_arguments):
        return account
    raise DevstackError(
        f"Postgres doesn't run as root, user namespaces are forbidden here, and the user nobody can't read {binary}: "
        "run this as an ordinary user."
    )


def _works(command: list[str], **arguments: Any) -> bool:
    return subprocess.run(command, capture_output=True, check=False, cwd="/", **arguments).returncode == 0
