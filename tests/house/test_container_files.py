"""What can be known of Dockerfile and compose.yaml without Docker: their shape, and that their scripts are sound."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]


def values(instruction: str) -> list[str]:
    return [value for name, value in INSTRUCTIONS if name == instruction]


def mounted_scripts() -> set[str]:
    return {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }


def test_the_image_runs_as_an_ordinary_user_and_knows_its_health() -> None:
    assert values("USER") == ["tenantry"]
    assert "--uid 10001" in " ".join(values("RUN"))
    assert len(values("HEALTHCHECK")) == 1


def test_every_image_names_its_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [value.split("=", 1)[1] for value in values("ARG")]
    for image in images:
        tag = image.partition(":")[2]
        assert re.search(r"\d", tag), image


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert values("COPY")[0] == "requirements.txt ."
    for name in kept:
        assert (ROOT / name).exists(), name
    assert {"manage.py", "config", "tenants", "accounts", "activity", ".docker/entrypoint"} <= set(kept)


def test_the_image_starts_the_entry_script() -> None:
    (entrypoint,) = values("ENTRYPOINT")
    script = ROOT / json.loads(entrypoint)[0]
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("script", sorted((ROOT / ".docker").iterdir()), ids=lambda path: path.name)
def test_a_script_is_plain_shell_and_may_be_run(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)


def test_commands_inside_the_files_are_plain_shell() -> None:
    lines = values("RUN")
    for service in SERVICES.values():
        command = service.get("command", [])
        if command[:2] == ["sh", "-c"]:
            lines.append(command[2])
        check = service.get("healthcheck", {}).get("test", [])
        if check[:1] == ["CMD-SHELL"]:
            lines.append(check[1])
    assert len(lines) > 3
    for line in lines:
        subprocess.run(["sh", "-n", "-c", line.replace("$$", "$")], check=True)


def test_mounted_scripts_exist() -> None:
    assert mounted_scripts()
    for script in mounted_scripts():
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    if service.get("healthcheck") == {"disable": True}:
        assert service["restart"] == "on-failure"  # it ends, so there is nothing to watch
    elif "build" in service:
        assert service.get("healthcheck") or service["command"] == ["web"]  # the image's own check is web's
    else:
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_services_that_exist(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert condition["condition"] in {"service_healthy", "service_completed_successfully"}


def test_ports_are_published_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_secrets_script_makes_every_secret_once_and_keeps_it(tmp_path: Path) -> None:
    subprocess.run([ROOT / ".docker" / "secrets", tmp_path], check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made.keys() == COMPOSE["secrets"].keys()
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f".secrets/{name}"}
    subprocess.run([ROOT / ".docker" / "secrets", tmp_path], check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == made


def test_a_service_is_given_every_secret_that_it_reads() -> None:
    for name, service in SERVICES.items():
        used = re.findall(r"/run/secrets/(\w+)", json.dumps([service.get("environment"), service.get("command")]))
        assert set(used) <= set(service.get("secrets", [])), name
        for secret in used:
            assert secret in COMPOSE["secrets"]


def test_an_unknown_process_is_refused_with_a_sentence() -> None:
    done = subprocess.run([ROOT / ".docker" / "entrypoint", "wobble"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "web, stream, worker, beat" in done.stderr
    assert "wobble" in done.stderr
