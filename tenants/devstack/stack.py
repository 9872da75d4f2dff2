"""`manage.py up`: the whole of Tenantry on one machine, from an empty folder to the URLs, and down again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tenants.devstack import demo, environment, leftovers, ports
from tenants.devstack.application import Application, Beat, ManageCommand, StaticFiles, Stream, Web, Worker
from tenants.devstack.errors import PortInUse
from tenants.devstack.folder import write_atomically
from tenants.devstack.process import stop_together
from tenants.devstack.servers import EmbeddedServers
from tenants.devstack.supervisor import Supervisor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Raised in the main thread when the person or the system asks `up` to stop."""


class Stack:
    """Everything that `up` runs. `say` gets a sentence for each thing worth a line on the terminal.

    One thread does all of it: the kernel ends the children when the thread that started them ends.
    """

    def __init__(self, data: Path | str, *, port: int, with_demo: bool, say: Callable[[str], None]) -> None:
        self.servers = EmbeddedServers(data)
        self.folder = self.servers.folder
        self.web_port = port
        self.stream_port = port + 1
        self.with_demo = with_demo
        self._say = say
        self._applications: dict[str, Application] = {}
        self._commands: list[ManageCommand] = []
        self._made: dict[str, Any] = {}
        self._up_file = self.folder.path / "up.json"
        self._supervisor = Supervisor(say=say, changed=self._write_up_file)

    def run(self, on_ready: Callable[[dict[str, Any]], None]) -> None:
        """Start everything, call `on_ready` with what `up.json` says, and look after it until a signal asks to stop.

        Raises DevstackError when it can't be started or kept running; nothing is left running either way.
        """
        former = {number: signal.signal(number, _request_stop) for number in SIGNALS}
        try:
            self._start()
            on_ready(self._description())
            self._supervisor.watch()
        except StopRequested:
            self._say("Stopping")
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            self._stop()
            for number, handler in former.items():
                signal.signal(number, handler)

    # --- Start

    def _start(self) -> None:
        for name in self.servers.open():
            self._say(f"An earlier run was killed and left {name} behind; ended it")
        self._up_file.unlink(missing_ok=True)
        for port in (self.web_port, self.stream_port):
            if not ports.is_free(port):
                raise PortInUse(
                    port, ports.user_of(port), "choose another with --port (web takes it, stream the next one)"
                )

        self._say("Starting Postgres, its replica, Valkey and MongoDB")
        self.servers.start(self._supervisor)
        environment.create_control_database(self.servers)
        variables = environment.variables(self.servers, web_port=self.web_port, stream_port=self.stream_port)

        self._say("Preparing the databases")
        collect = StaticFiles(self.folder, variables)
        if not collect.is_current():
            self._begin(collect)
        self._finish(self._begin(ManageCommand(self.folder, variables, "prepare")))
        if collect in self._commands:
            self._finish(collect)  # web reads the manifest when it starts
            collect.note()

        self._say("Starting web, stream, worker and beat")
        self._applications = {
            process.name: process
            for process in (
                Web(self.folder, variables, self.web_port),
                Stream(self.folder, variables, self.stream_port),
                Worker(self.folder, variables),
                Beat(self.folder, variables),
            )
        }
        self._supervisor.launch(*self._applications.values())
        made = self._demo(variables)
        self._supervisor.wait_ready()
        self._made = made
        self._write_up_file()

    def _demo(self, variables: dict[str, str]) -> dict[str, Any]:
        """The sign-ins to print: those of the last start if they still work, and otherwise new ones."""
        file = self.folder.path / "demo.json"
        made = demo.kept(file, tenants=self.with_demo)
        if made:
            self._supervisor.wait_ready()
            if demo.works(made, base_domain=environment.BASE_DOMAIN, port=self.web_port):
                return made
        words = ["demo", "--json", "--file", str(file), *([] if self.with_demo else ["--no-tenants"])]
        command = ManageCommand(self.folder, variables, *words)
        self._finish(self._begin(command))
        return demo.kept(file, tenants=self.with_demo)

    def _begin(self, command: ManageCommand) -> ManageCommand:
        self._commands.append(command)
        command.start()
        return command

    def _finish(self, command: ManageCommand) -> None:
        command.wait_ready(tick=self._supervisor.look)
        self._commands.remove(command)

    # --- What the others may know

    def _description(self) -> dict[str, Any]:
        web = f"http://{environment.BASE_DOMAIN}:{self.web_port}"
        parts = {**self.servers, **self._applications}
        return {
            "web": web,
            "stream": f"http://{environment.BASE_DOMAIN}:{self.stream_port}",
            "base_domain": environment.BASE_DOMAIN,
            "tenants": [
                {"slug": tenant["slug"], "url": f"http://{tenant['slug']}.{environment.BASE_DOMAIN}:{self.web_port}"}
                | {key: tenant[key] for key in ("email", "password", "token")}
                for tenant in self._made["tenants"]
            ],
            "operator": {"url": web} | {key: self._made["operator"][key] for key in ("email", "password", "token")},
            "postgres": {"primary": self.servers.primary_url, "replicas": self.servers.replica_urls},
            "mongo": self.servers.mongo_url,
            "redis": self.servers.redis_url,
            "pids": {"up": os.getpid()} | {name: part.pid for name, part in parts.items()},
        }

    def _write_up_file(self) -> None:
        if self._made:  # not before all of it is ready for the first time
            write_atomically(self._up_file, json.dumps(self._description(), indent=1) + "\n")

    # --- End

    def _stop(self) -> None:
        if not self.folder.is_open:  # it was refused: what is in the folder is another run's
            return
        self._up_file.unlink(missing_ok=True)
        stop_together([*self._applications.values(), *self._commands])
        self.servers.stop(after=self._end_strays)

    def _end_strays(self) -> None:
        # A signal that came between the birth of a process and its being noted leaves one that nobody here knows.
        leftovers.end(self.folder.path, timeout=2.0)


def _request_stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise StopRequested
