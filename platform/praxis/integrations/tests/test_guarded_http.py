"""The address tables of Smokescreen and Svix, and the ways around them that others fell for."""

import http.server
import ipaddress
import socket
import threading
from collections.abc import Iterator

import pytest

from praxis.guarded_http import AddressRefused, AllowedNetwork, is_denied, post, resolve

DENIED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.255
169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1
100::1 2001::1 2001:20::1 2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1
fec0::1 ff02::1 fd00:ec2::254
""".split()
PERMITTED = (
    "1.1.1.1 8.8.8.8 93.184.216.34 172.32.0.1 100.128.0.1 2606:4700::1111 2a00:1450::1".split()
)


@pytest.mark.parametrize("address", DENIED)
def test_private_and_reserved_addresses_are_denied(address: str) -> None:
    assert is_denied(ipaddress.ip_address(address), 443)


@pytest.mark.parametrize("address", PERMITTED)
def test_public_addresses_are_permitted(address: str) -> None:
    assert not is_denied(ipaddress.ip_address(address), 443)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://localhost/",
        "http://localhost./",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[0:0:0:0:0:ffff:7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/latest/meta-data",
        "http://169.254.169.254/latest/meta-data",
        "http://user:password@8.8.8.8/",
        "http://8.8.8.8@127.0.0.1/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
        "//8.8.8.8/",
        "http://",
        "http://8.8.8.8:99999/",
        "http://[::1",
        "javascript:alert(1)",
    ],
)
def test_encodings_of_denied_addresses_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        resolve(url)


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(2, 1, 6, "", ("8.8.8.8", 80)), (2, 1, 6, "", ("10.0.0.7", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.7"):
        resolve("http://mixed.example/")


def test_an_operators_network_opens_its_port_only() -> None:
    allowed = [AllowedNetwork.parse("10.1.0.0/16:8443")]
    address = ipaddress.ip_address("10.1.2.3")
    assert not is_denied(address, 8443, allowed)
    assert is_denied(address, 443, allowed)
    assert is_denied(ipaddress.ip_address("10.2.0.1"), 8443, allowed)


def test_the_metadata_address_stays_closed_whatever_is_allowed() -> None:
    allowed = [AllowedNetwork.parse("0.0.0.0/0")]
    assert is_denied(ipaddress.ip_address("169.254.169.254"), 80, allowed)


def test_a_wrong_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"10\.1\.0\.0/16.*got 'office'"):
        AllowedNetwork.parse("office")


class _Redirects(http.server.BaseHTTPRequestHandler):
    hits = 0

    def do_POST(self) -> None:
        type(self).hits += 1
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(302)
        self.send_header("location", f"http://{self.headers['host']}/again")
        self.end_headers()
        self.wfile.write(b"x" * 200_000)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def redirecting_port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Redirects)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_redirect_is_not_followed_and_the_body_is_cut(redirecting_port: int) -> None:
    response = post(
        f"http://127.0.0.1:{redirecting_port}/",
        content=b"{}",
        headers={},
        timeout_seconds=5,
        allowed=[AllowedNetwork.parse("127.0.0.1/32")],
    )
    assert response.status == 302
    assert len(response.body) <= 64 * 1024
    assert _Redirects.hits == 1
