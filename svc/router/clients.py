"""Who asks: the client's address, believed from X-Forwarded-For only where a trusted proxy says so. Pure."""

from ipaddress import IPv4Network, IPv6Network, ip_address

Networks = tuple[IPv4Network | IPv6Network, ...]


def client_of(peer: str, forwarded: bytes, trusted: Networks) -> str:
    """The last address that no trusted proxy has."""
    if not trusted or not forwarded or not is_among(peer, trusted):
        return peer
    hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not is_among(hop, trusted):
            return hop if _is_address(hop) else peer
    return hops[0]


def is_among(address: str, networks: Networks) -> bool:
    """Return whether the address is in one of the networks."""
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
