"""Which URLs and addresses webhooks may have."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from hone.errors import Invalid

METADATA = {"168.63.129.16", "100.100.100.200", "fd00:ec2::254"}
"""Where clouds give a machine its credentials; 169.254.169.254 is not here because it is link-local."""


def check_url(url: str, *, private: bool) -> None:
    """Invalid if nothing can be sent there. The addresses of a host name are checked when something is sent."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"'{url}' is not a URL: {error}", param="url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Invalid(f"'{url}' is not http://HOST/PATH or https://HOST/PATH", param="url")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Invalid(
            "a webhook's URL must have no user, password or fragment; the signature shows who sent it", param="url"
        )
    try:
        address = ip_address(parts.hostname)
    except ValueError:
        return
    if reason := address_refusal(address, private=private):
        raise Invalid(reason, param="url")


def address_refusal(address: IPv4Address | IPv6Address, *, private: bool) -> str | None:
    """Why nothing is sent to an address, or None; `private`: whether the operator allows private addresses."""
    inner = (address.ipv4_mapped or address.sixtofour or address) if isinstance(address, IPv6Address) else address
    never = inner.is_link_local or inner.is_multicast or inner.is_unspecified or str(inner) in METADATA
    if never or (inner.is_reserved and not inner.is_loopback):
        return f"{address} is not allowed for webhooks: it is a link-local, reserved or cloud metadata address"
    if not inner.is_global and not private:
        return f"{address} is a private address; the operator can allow those with HONE_WEBHOOK_ALLOW_PRIVATE=true"
    return None
