"""The one HTTP client for addresses that a person typed in: webhooks, imports.

The name is resolved once, every address it has is judged, and exactly the judged address is
dialled, so that neither a redirect nor a second DNS answer leads elsewhere. Denied: everything
that is not a public unicast address, and the IPv6 forms that carry an IPv4 address inside. The
tables follow Smokescreen and Svix; see docs/reference/webhooks.md.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from praxis.sentences import Sentence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
BODY_LIMIT = 64 * 1024

_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
        "192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 "
        "192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
        "::/128 ::1/128 ::ffff:0:0/96 ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 "
        "2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"
    ).split()
)
# Even an operator's allow-list does not open these: they hand out credentials of the machine.
_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32")
)


class AddressRefused(Exception):
    """The address may not be called; the message is a sentence for the person."""


@dataclass(frozen=True)
class AllowedNetwork:
    """A private network that the operator opened, as `10.1.0.0/16` or `10.1.2.3/32:8443`."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "AllowedNetwork":
        """Raises `ValueError` naming what was given and what is allowed."""
        head, slash, tail = text.rpartition("/")
        bits, colon, port = tail.partition(":")
        try:
            network = ipaddress.ip_network(f"{head}{slash}{bits}")
            number = int(port) if colon else None
        except ValueError as error:
            raise ValueError(
                f"a network is written like 10.1.0.0/16 or 10.1.2.3/32:8443, got {text!r}"
            ) from error
        return cls(network, number)


def is_denied(address: Address, port: int, allowed: Iterable[AllowedNetwork] = ()) -> bool:
    if any(address in network for network in _METADATA if network.version == address.version):
        return True
    for opened in allowed:
        if (
            opened.network.version == address.version
            and address in opened.network
            and opened.port in (None, port)
        ):
            return False
    return any(address in network for network in _DENIED if network.version == address.version)


def resolve(url: str, allowed: Sequence[AllowedNetwork] = ()) -> tuple[str, str, int]:
    """The one judged address to dial, the host name, and the port.

    Raises `AddressRefused`. All addresses of the name must be permitted: one private among public
    ones is how a rebinding attack looks.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(_("The address can't be read.")) from error
    if parts.scheme not in ("http", "https") or not host:
        raise AddressRefused(_("The address must begin with https:// or http:// and name a host."))
    if parts.username or parts.password:
        raise AddressRefused(_("The address must not hold a user name or a password."))
    port = port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(
            Sentence(gettext_noop("The host name %(host)s can't be resolved."), {"host": host})
        ) from error
    addresses = [ipaddress.ip_address(str(item[4][0]).split("%")[0]) for item in found]
    for address in addresses:
        if is_denied(address, port, allowed):
            raise AddressRefused(
                Sentence(
                    gettext_noop(
                        "%(host)s leads to %(address)s, an address inside a private or reserved network."
                    ),
                    {"host": host, "address": str(address)},
                )
            )
    return str(addresses[0]), host, port


@dataclass(frozen=True, kw_only=True)
class Response:
    status: int
    headers: httpx.Headers
    body: bytes
    """Its beginning: `BODY_LIMIT` bytes of an answer to `post`."""


def post(
    url: str,
    *,
    content: bytes,
    headers: dict[str, str],
    timeout_seconds: float,
    allowed: Sequence[AllowedNetwork] = (),
) -> Response:
    """One POST to the judged address; no redirect is followed and no proxy variable is read.

    Raises `AddressRefused` before a connection is made and `httpx.HTTPError` for what fails after.
    """
    with _dialled(
        "POST", url, content=content, headers=headers, timeout=timeout_seconds, allowed=allowed
    ) as response:
        return Response(
            status=response.status_code,
            headers=response.headers,
            body=_first_bytes(response.iter_raw(), BODY_LIMIT),
        )


def get(
    url: str,
    *,
    headers: dict[str, str],
    timeout_seconds: float,
    most_bytes: int,
    allowed: Sequence[AllowedNetwork] = (),
) -> Response:
    """One GET of the judged address, as `post`; the caller decides about a redirect. The body is
    unpacked and has at most `most_bytes` + 1 bytes, so that a longer one shows."""
    with _dialled(
        "GET", url, content=None, headers=headers, timeout=timeout_seconds, allowed=allowed
    ) as response:
        return Response(
            status=response.status_code,
            headers=response.headers,
            body=_first_bytes(response.iter_bytes(), most_bytes + 1),
        )


@contextlib.contextmanager
def _dialled(
    method: str,
    url: str,
    *,
    content: bytes | None,
    headers: dict[str, str],
    timeout: float,
    allowed: Sequence[AllowedNetwork],
) -> Iterator[httpx.Response]:
    address, host, port = resolve(url, allowed)
    parts = urlsplit(url)
    target = f"[{address}]" if ":" in address else address
    default_port = 443 if parts.scheme == "https" else 80
    dialled = parts._replace(netloc=f"{target}:{port}").geturl()
    host_header = host if port == default_port else f"{host}:{port}"
    with (
        httpx.Client(follow_redirects=False, trust_env=False, timeout=timeout) as client,
        client.stream(
            method,
            dialled,
            content=content,
            headers={**headers, "host": host_header},
            extensions={"sni_hostname": host},
        ) as response,
    ):
        yield response


def _first_bytes(parts: Iterable[bytes], most: int) -> bytes:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) >= most:
            break
    return bytes(body[:most])
