"""Where a webhook may be sent: https, and to addresses of the public internet alone.

A tenant chooses the address, and Tenantry's machines can reach what the tenant can't: other services, the metadata of a cloud. So the name
is resolved here, each address that it has is checked, and the connection is made to one of those (`outgoing`), never to the name again:
what the name resolves to a moment later doesn't matter.

Hosts in settings.WEBHOOK_ALLOWED_HOSTS are the operator's word: those may be private, and spoken to without TLS.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from activity.webhooks.errors import AddressRefused

MAX_URL: Final = 2000
RESOLVE_TIMEOUT: Final = 3.0  # seconds

# What IANA keeps for special use: not the internet, or not one machine. The last one looks public, and is a cloud's own inside of it.
_SPECIAL_4: Final = [ip_network(network) for network in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
)]  # fmt: skip
# Of IPv6 only global unicast is let through, but for what lies within it: tunnels (Teredo, 6to4) lead to addresses of others.
_GLOBAL_6: Final = ip_network("2000::/3")
_SPECIAL_6: Final = [ip_network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_NAT64: Final = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart. `host` is a name or an address, `target` the path with its query."""

    is_secure: bool
    host: str
    port: int
    target: str


def parse(url: str) -> Address:
    """Take a URL apart. Raises AddressRefused for what isn't a plain https address."""
    if len(url) > MAX_URL:
        raise AddressRefused(f"Use at most {MAX_URL:,} characters.")
    # urlsplit would silently leave some of them out.
    if not url.isascii() or any(letter <= " " or letter in '\x7f\\"<>^`{|}' for letter in url):
        raise AddressRefused("Write the address in ASCII without spaces; encode other characters (%C3%A9, xn--…).")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("This isn't a web address.") from None
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme not in {"http", "https"} or not host or "%" in host:
        raise AddressRefused("Write the whole address, as in https://siem.example.com/events.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("User and password can't stand in the address; messages are signed instead.")
    if parts.fragment:
        raise AddressRefused("Leave out what follows the #: it isn't sent.")
    is_secure = parts.scheme == "https"
    if not is_secure and not is_allowed(host):
        raise AddressRefused("The address must begin with https://.")
    if port == 0:
        raise AddressRefused("This isn't a port.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(is_secure, host, port or (443 if is_secure else 80), target)


def checked(address: Address) -> list[str]:
    """The internet addresses of the host, all of which may be sent to. Raises AddressRefused: for all of them when one may not."""
    found = resolve(address.host, address.port)
    if not is_allowed(address.host) and not all(map(is_public, found)):
        raise AddressRefused("The address leads to a private network or to this machine, where nothing is sent.")
    return found


def is_allowed(host: str) -> bool:
    """Whether an operator has named the host as one that webhooks may reach wherever it is."""
    allowed: list[str] = settings.WEBHOOK_ALLOWED_HOSTS
    return host in allowed


def is_public(text: str) -> bool:
    """Whether this is the address of one machine on the public internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    if address.scope_id is not None:
        return False
    inner = _inner(address)
    if inner is not None:
        return is_public(str(inner))
    return address in _GLOBAL_6 and not any(address in network for network in _SPECIAL_6)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, or behind a NAT64."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def resolve(host: str, port: int) -> list[str]:
    """The internet addresses of a name, within RESOLVE_TIMEOUT. Raises AddressRefused."""
    found: list[str] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    # The C library's resolver can't be told how long to take.
    asking = threading.Thread(target=ask, name="webhook-resolver", daemon=True)
    asking.start()
    asking.join(RESOLVE_TIMEOUT)
    answers = list(found)
    if not answers:
        raise AddressRefused(f"The name {host} can't be resolved.")
    return answers
