"""A certificate for a LAN, made by this machine itself: browsers warn once (RFC 5280)."""

import datetime
import ipaddress
import os
import socket
from pathlib import Path

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

VALID = datetime.timedelta(days=825)
"Apple's devices take no longer ones."
RENEWED_BEFORE = datetime.timedelta(days=30)
CERTIFICATE, KEY = "tls.crt", "tls.key"


def ensure(folder: Path, now: datetime.datetime) -> tuple[Path, Path]:
    """Paths of certificate and key in `folder`, made where there are none or their end is near.

    Addresses that this machine gets later do not make a new one: browsers that were told to trust this one
    would warn again. Raises OSError.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not key.exists() or _ends_soon(certificate, now):
        _write(certificate, key, now)
    return certificate, key


def _ends_soon(certificate: Path, now: datetime.datetime) -> bool:
    try:
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (FileNotFoundError, ValueError):
        return True
    return ends - now < RENEWED_BEFORE


def _write(certificate: Path, key: Path, now: datetime.datetime) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cctv3, self-signed")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of viewers may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now - datetime.timedelta(days=1) + VALID)
        .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace(key, secret)
    _replace(certificate, made.public_bytes(serialization.Encoding.PEM))


def _names() -> list[x509.GeneralName]:
    """What this machine is reached by: its name and its addresses of now."""
    names = dict.fromkeys(("localhost", socket.gethostname(), f"{socket.gethostname()}.local"))
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            address = ipaddress.ip_address(each.ip if isinstance(each.ip, str) else each.ip[0])
            if not address.is_link_local:
                addresses.add(address)
    return [
        *(x509.DNSName(name) for name in names if name.isascii()),
        *(x509.IPAddress(address) for address in sorted(addresses, key=lambda a: (a.version, a))),
    ]


def _replace(path: Path, content: bytes) -> None:
    """Never half written, and never readable by others."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    new.replace(path)
