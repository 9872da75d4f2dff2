"""Private addresses are refused however they are spelled; the control of each is that without the check it would be sent to."""

from __future__ import annotations

from typing import Any

import pytest

from activity.webhooks import addresses
from activity.webhooks.errors import AddressRefused

PRIVATE = [
    # Loopback, in every way that a C library reads
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "0177.0.0.1",
    "017700000001", "localhost", "localhost.", "LOCALHOST", "127.0.0.1.", "0", "0.0.0.0", "00000000177.0.0.1",
    # Private networks, of carriers, of tests; the metadata of clouds
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "198.18.0.1", "169.254.169.254",
    "2852039166", "0xa9fea9fe", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1",
    # To many, to all, to nobody
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    # IPv6
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]",
    "[100::1]", "[2001::1]", "[3fff::1]",
    # IPv4 within IPv6: mapped, compatible, translated, behind a NAT64, in a tunnel
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a9fe:a9fe]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
]  # fmt: skip


def machines(host: str) -> list[str]:
    return addresses.checked(addresses.parse(f"https://{host}/events"))


def test_there_are_enough_of_them() -> None:
    assert len(set(PRIVATE)) >= 25


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused, match="private network"):
        machines(host)


@pytest.mark.parametrize("host", PRIVATE)
def test_without_the_check_it_would_be_sent_to(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: each spelling is one that a resolver turns into an address."""
    monkeypatch.setattr(addresses, "is_public", lambda text: True)
    assert machines(host)


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "11.0.0.0", "2606:4700::1111", "2a00:1450::1",
     "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses_are_let_through(text: str) -> None:
    assert addresses.is_public(text)


@pytest.mark.parametrize("text", ["", "x", "8.8.8", "8.8.8.8 ", "2606:4700::1111%eth0", "08.8.8.8", "::ffff:8.8.8.8%1"])
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not addresses.is_public(text)


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], ["fe80::1%eth0"]], ids=str
)
def test_a_name_that_leads_inside_is_refused_even_if_it_leads_outside_too(
    answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port: answers)
    with pytest.raises(AddressRefused):
        machines("siem.example.com")
    monkeypatch.setattr(addresses, "resolve", lambda host, port: ["8.8.8.8"])
    assert machines("siem.example.com") == ["8.8.8.8"]


@pytest.mark.parametrize(
    "url",
    [
        "http://siem.example.com/", "ftp://siem.example.com/", "file:///etc/passwd", "javascript:alert(1)", "siem.example.com",
        "//siem.example.com/", "https:///events", "https://", "", "https://ada:secret@siem.example.com/", "https://@siem.example.com/",
        "https://siem.example.com:0/", "https://siem.example.com:99999/", "https://siem.example.com:x/", "https://[::1/",
        "https://[fe80::1%25eth0]/", "https://siem.example.com\\@127.0.0.1/", "https://siem.example.com/\r\nHost: x",
        "https://siem.example\t.com/", "https://siem .example.com/", "https://siem.example.com/#part", "https://①②⑦.⓪.⓪.①/",
        "https://127.0.0.1%2f@x/", "https://siem.example.com/é", "https://siem.example.com/" + "x" * 2000,
    ],
)  # fmt: skip
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        addresses.parse(url)
    assert "secret" not in str(refused.value)


def test_an_address_is_taken_apart() -> None:
    address = addresses.parse("https://Siem.Example.com:8443/a%20b?c=d&e")
    assert (address.is_secure, address.host, address.port, address.target) == (
        True, "siem.example.com", 8443, "/a%20b?c=d&e"
    )  # fmt: skip
    assert addresses.parse("https://siem.example.com").target == "/"


def test_a_name_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AddressRefused, match="can't be resolved"):
        machines("nothing.invalid")


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    never = threading.Event()
    monkeypatch.setattr(addresses, "RESOLVE_TIMEOUT", 0.1)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: never.wait(10) and [])
    with pytest.raises(AddressRefused, match="can't be resolved"):
        machines("siem.example.com")
    never.set()


def test_what_the_operator_names_may_be_private_and_plain(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_HOSTS = ["127.0.0.1"]
    assert addresses.checked(addresses.parse("http://127.0.0.1:8080/")) == ["127.0.0.1"]
    for other in ("http://127.0.0.2/", "http://localhost/"):
        with pytest.raises(AddressRefused):
            addresses.parse(other)
    for other in ("https://127.0.0.2/", "https://127.1/"):
        with pytest.raises(AddressRefused):
            addresses.checked(addresses.parse(other))
