"""Processes that an earlier run left behind because it was killed: find and end them before the next start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

# Every process of a stack carries its data folder in this variable, and so do the processes that it forks.
OWNER_VARIABLE = "TENANTRY_DATA_FOLDER"


def find(folder: Path) -> list[psutil.Process]:
    """The living processes of the stack in this folder, whoever started them.

    Postgres and Valkey write their status lines over their environments, but they work inside their data folders.
    """
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.environ().get(OWNER_VARIABLE) == str(folder) or _is_server_in(process, folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _is_server_in(process: psutil.Process, folder: Path) -> bool:
    return process.name() in {"postgres", "valkey-server"} and Path(process.cwd()).is_relative_to(folder)


def end(folder: Path, *, timeout: float = 20.0) -> list[str]:
    """End them, gently first (`timeout` seconds), and return the names of those that had no parent among them."""
    processes = find(folder)
    pids = {process.pid for process in processes}
    names = []
    for process in processes:
        try:
            if process.ppid() in pids:  # its parent ends it, in the order that is right for it
                continue
            is_postgres = process.name() == "postgres"
            names.append(f"{process.name()} (pid {process.pid})")
            process.send_signal(signal.SIGINT if is_postgres else signal.SIGTERM)
        except psutil.Error:
            continue
    for process in wait_for_end(processes, timeout=timeout):
        try:
            process.kill()
        except psutil.Error:
            continue
    wait_for_end(processes, timeout=5)
    return names


def wait_for_end(processes: list[psutil.Process], *, timeout: float) -> list[psutil.Process]:
    """Wait up to `timeout` seconds for the end of the processes; those that still run."""
    deadline = time.monotonic() + timeout
    while (alive := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs. An orphan that has ended stays a zombie until init, which may be slow, takes notice."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
