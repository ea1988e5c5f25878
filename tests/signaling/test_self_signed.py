"""The certificate that the machine makes for itself."""

import datetime
import ipaddress
import socket
from pathlib import Path

from cryptography import x509

from signaling import self_signed

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)


def test_it_is_made_once_and_again_near_its_end(tmp_path: Path) -> None:
    certificate, key = self_signed.ensure(tmp_path, NOW)
    first = certificate.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    made = x509.load_pem_x509_certificate(first)
    assert made.not_valid_before_utc < NOW < made.not_valid_after_utc <= NOW + self_signed.VALID
    self_signed.ensure(tmp_path, NOW + datetime.timedelta(days=700))
    assert certificate.read_bytes() == first
    self_signed.ensure(tmp_path, made.not_valid_after_utc - datetime.timedelta(days=29))
    assert certificate.read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tls.crt", "tls.key"]


def test_it_names_this_machine(tmp_path: Path) -> None:
    certificate, _ = self_signed.ensure(tmp_path, NOW)
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)


def test_damaged_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "tls.key").write_text("half")
    (tmp_path / "tls.crt").write_text("nonsense")
    certificate, key = self_signed.ensure(tmp_path, NOW)
    x509.load_pem_x509_certificate(certificate.read_bytes())
    assert b"PRIVATE KEY" in key.read_bytes()
