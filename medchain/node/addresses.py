"""Where a node may connect to when it calls a member: public addresses, unless a demo or the operator allows more.

A member writes its own address on the ledger, and every node calls it: without this, one member could have all others
call what only they can reach. Keeps true: a name is resolved once, every address it stands for is judged, and the one
that was judged is the one that is called; broadcast, multicast and link-local addresses, and the metadata services of
clouds, are never called. Trusts the resolver for nothing.
Source: RFC 6890; `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from medchain.errors import UnavailableError

IpAddress: TypeAlias = IPv4Address | IPv6Address
"""An address."""

MayCall: TypeAlias = Callable[[IpAddress], bool]
"""Tells whether an address may be called."""

# Services that give a machine of a cloud its credentials, where they are not link-local: of Alibaba Cloud, Azure (at a
# public address), Oracle, AWS and Google.
_METADATA: Final[frozenset[IpAddress]] = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_LOW_32: Final = 0xFFFF_FFFF


def is_public(address: IpAddress) -> bool:
    """Tell whether an address belongs to the Internet at large, an IPv4 one that is wrapped into it included."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address in _METADATA)


def is_unicast(address: IpAddress) -> bool:
    """Tell whether an address is that of one machine, in a private network or this one too; never link-local."""
    inner = _inner(address)
    if inner is not None:
        return is_unicast(inner)
    is_nobodys = address.is_multicast or address.is_unspecified or _is_reserved(address)
    return not (is_nobodys or address.is_link_local or address in _METADATA)


def connect(host: str, port: int, timeout_s: float, may_call: MayCall) -> socket.socket:
    """Connect to the first address of a host that answers, all of which must be allowed.

    Args:
        host: name or address.
        port: its port.
        timeout_s: patience with each address.
        may_call: judges addresses.

    Returns:
        A connected socket.

    Raises:
        UnavailableError: ``peer.address`` if one of the addresses may not be called: half a name is no name.
        OSError: nobody answers, or there is no such host.
        ValueError: the host is no host name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [(family, place) for family, _, _, _, place in found]
    if not addresses or not all(
        may_call(ipaddress.ip_address(str(place[0]).partition("%")[0])) for _, place in addresses
    ):
        raise UnavailableError("peer.address")
    failure: OSError | None = None
    for family, place in addresses:
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.settimeout(timeout_s)
            made.connect(place)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure or OSError("no address")


def _inner(address: IpAddress) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for, None where it stands for itself."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & _LOW_32)
    return address.ipv4_mapped or address.sixtofour


def _is_reserved(address: IpAddress) -> bool:
    """Tell whether an address is set aside, or means this very network; Python counts the IPv6 loopback among these."""
    if isinstance(address, IPv4Address) and address in _THIS_NETWORK:
        return True
    return address.is_reserved and not address.is_loopback
