"""Redis over TLS: both sides, pub/sub and Celery, verify whom they talk to unless the URL says otherwise."""

import datetime
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kombu.exceptions import OperationalError

from service.local.embedded import Servers
from service.messaging import broker
from service.messaging.wakeups import Publisher


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of `localhost` that nobody has signed but itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


@pytest.fixture
def tls_port(embedded: Servers, certificate: tuple[Path, Path]) -> Iterator[int]:
    """Where a proxy speaks TLS for the Redis-protocol server, which listens on a Unix socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    socket_path = embedded.redis_url.removeprefix("unix://").partition("?")[0]

    async def copy(source: ByteStream, target: ByteStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for data in source:
                await target.send(data)
        await anyio.aclose_forcefully(target)

    async def connected(client: ByteStream) -> None:
        async with client, await anyio.connect_unix(socket_path) as redis, anyio.create_task_group() as both:
            both.start_soon(copy, client, redis)
            both.start_soon(copy, redis, client)

    async def listen(*, task_status: TaskStatus[int]) -> None:
        sockets = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with TLSListener(sockets, context, standard_compatible=False) as listener:
            task_status.started(sockets.listeners[0].extra(SocketAttribute.local_port))
            await listener.serve(connected)

    with start_blocking_portal() as portal:
        proxy, port = portal.start_task(listen)
        yield port
        proxy.cancel()


def answers(url: str) -> bool:
    publisher = Publisher(url)
    answered = publisher.answers()
    publisher.close()
    return answered


def send(url: str) -> None:
    with broker.celery(url).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)


def test_nobody_who_only_says_that_he_is_redis_is_believed(tls_port: int) -> None:
    url = f"rediss://localhost:{tls_port}/0"
    assert not answers(url)
    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        send(url)


def test_a_known_certificate_is_believed_for_its_own_name_only(tls_port: int, certificate: tuple[Path, Path]) -> None:
    known = f"ssl_ca_certs={certificate[0]}"
    url = f"rediss://localhost:{tls_port}/0?{known}"
    assert answers(url)
    send(url)
    other = f"rediss://127.0.0.1:{tls_port}/0?{known}"
    assert not answers(other)
    with pytest.raises(OperationalError, match=r"CERTIFICATE_VERIFY_FAILED|IP address mismatch"):
        send(other)


def test_who_says_so_does_without(tls_port: int) -> None:
    url = f"rediss://127.0.0.1:{tls_port}/0?ssl_cert_reqs=none&ssl_check_hostname=false"
    assert answers(url)
    send(url)
