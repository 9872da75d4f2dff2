"""One message on its way: bounded in time and size, pinned to the machine that was checked, and never led elsewhere."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from activity.webhooks import addresses, outgoing
from activity.webhooks.outgoing import Answer
from tests.webhooks.receiver import Receiver, answer, drip, drop, endless, garbage

BODY = b'{"hello": "there"}'


def post(url: str) -> Answer:
    return outgoing.post(url, BODY, {"Webhook-Id": "1"})


def test_a_message_arrives_as_it_was_sent(receiver: Receiver) -> None:
    found = post(receiver.url)
    assert (found.is_taken, found.status, found.error, found.excerpt) == (True, 200, "", "ok")
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/events?from=tenantry", BODY)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as inside:
        receiver.script = [answer(status, Location=inside.url)]
        found = post(receiver.url)
        assert (found.is_taken, found.status) == (False, status)
        assert "redirects aren't followed" in found.error
        assert inside.requests == []


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [(answer(500, b"oops"), "answered 500"), (drop, "closed without an answer"), (garbage, "isn't HTTP")],
    ids=["500", "drop", "garbage"],
)
def test_what_goes_wrong_is_said(receiver: Receiver, behaviour: Any, sentence: str) -> None:
    receiver.script = [behaviour]
    found = post(receiver.url)
    assert not found.is_taken
    assert sentence in found.error


def test_a_port_where_nobody_listens(receiver: Receiver) -> None:
    receiver.stop()
    assert post(receiver.url).error == "The connection was refused."


def test_an_answer_that_drips_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_TIMEOUT", 0.5)
    receiver.script = [drip(3)]
    started = time.monotonic()
    found = post(receiver.url)
    assert time.monotonic() - started < 2
    assert not found.is_taken
    assert "no whole answer" in found.error


def test_without_the_deadline_the_drip_is_waited_for(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a time-out of each read alone never passes."""
    monkeypatch.setattr(outgoing, "TOTAL_TIMEOUT", 0.5)
    monkeypatch.setattr(outgoing._Deadline, "_pass", lambda self: None)
    receiver.script = [drip(1.5)]
    started = time.monotonic()
    assert post(receiver.url).is_taken
    assert time.monotonic() - started >= 1.5


def test_of_an_endless_answer_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.script = [endless]
    started = time.monotonic()
    found = post(receiver.url)
    assert time.monotonic() - started < 3
    assert found.is_taken
    assert 0 < len(found.excerpt) <= outgoing.MAX_EXCERPT


def test_what_the_receiver_asks_for_is_bounded(receiver: Receiver) -> None:
    receiver.script = [
        answer(503, Retry_After="120"),
        answer(429, Retry_After="99999999"),
        answer(503, Retry_After="x"),
    ]
    assert [post(receiver.url).retry_after for _ in range(3)] == [120, outgoing.MAX_RETRY_AFTER, None]


class Rebinding:
    """A name that leads outside when it is checked, and inside a moment later. Nobody answers at the address outside."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return ["11.22.33.44"] if self.asked == 1 else ["127.0.0.1"]


def test_a_name_that_changes_its_address_reaches_nothing_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    name = Rebinding()
    monkeypatch.setattr(addresses, "resolve", name)
    monkeypatch.setattr(outgoing, "CONNECT_TIMEOUT", 0.3)
    with Receiver() as inside:
        found = post(f"https://siem.example.com:{inside.port}/")
        assert not found.is_taken
        assert name.asked == 1
        assert inside.requests == []


def test_who_asks_for_the_name_again_is_led_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: check, then connect by name, as HTTP clients do."""
    name = Rebinding()
    monkeypatch.setattr(addresses, "resolve", name)
    with Receiver() as inside:
        address = addresses.parse(f"https://siem.example.com:{inside.port}/")
        assert addresses.checked(address)
        with socket.create_connection((name(address.host, address.port)[0], address.port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert [request.body for request in inside.requests] == [b"hi"]


def test_a_private_address_is_refused_when_it_is_sent_to(receiver: Receiver, settings: Any) -> None:
    """Not only when the webhook is made: the name may lead elsewhere since."""
    url = f"https://localhost:{receiver.port}/"
    settings.WEBHOOK_ALLOWED_HOSTS = []
    assert "private network" in post(url).error
    settings.WEBHOOK_ALLOWED_HOSTS = ["localhost"]
    assert "private network" not in post(url).error


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """One that the receiver has signed for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    files[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(files[0]), str(files[1])


def test_a_certificate_that_nobody_vouches_for_is_refused(
    certificate: tuple[str, str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ssl

    settings.WEBHOOK_ALLOWED_HOSTS = ["localhost", "127.0.0.1", "siem.example.com"]
    with Receiver(certificate=certificate) as receiver:
        refused = post(f"https://localhost:{receiver.port}/")
        assert "The certificate isn't valid" in refused.error
        assert receiver.requests == []
        # The control: with its authority among the known ones the same message arrives, by the name and by no other.
        trusting = ssl.create_default_context(cafile=certificate[0])
        monkeypatch.setattr(outgoing, "_tls", lambda: trusting)
        assert post(f"https://localhost:{receiver.port}/").is_taken
        monkeypatch.setattr(addresses, "resolve", lambda host, port: ["127.0.0.1"])
        assert "The certificate isn't valid" in post(f"https://siem.example.com:{receiver.port}/").error
        assert len(receiver.requests) == 1
