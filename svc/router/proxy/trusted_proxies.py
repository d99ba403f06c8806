"""The address of a client. X-Forwarded-For counts only if a trusted proxy sends it. Pure."""

from ipaddress import IPv4Network, IPv6Network, ip_address

MAPPED_PREFIX = "::ffff:"
Networks = tuple[IPv4Network | IPv6Network, ...]


def peer_address(address: str) -> str:
    """Return the address of a peer without the prefix ::ffff:, which a socket on `::` puts before IPv4 addresses."""
    return address[len(MAPPED_PREFIX) :] if address.startswith(MAPPED_PREFIX) and "." in address else address


def client_of(peer: str, forwarded: bytes, trusted: Networks) -> str:
    """Return the address of the client.

    If the peer is not trusted, that is the peer's address; otherwise it is the last address in X-Forwarded-For that
    does not belong to a trusted proxy.
    """
    if not trusted or not forwarded or not is_among(peer, trusted):
        return peer
    hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not is_among(hop, trusted):
            return hop if _is_address(hop) else peer
    return hops[0]


def is_among(address: str, networks: Networks) -> bool:
    """Return whether the address is in one of the networks."""
    address = peer_address(address)
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
