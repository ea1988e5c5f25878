"""Certificate files that are used, followed, and refused."""

import contextlib
import logging
import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from common.access_config import TlsConfig
from common.clock import SystemClock
from common.errors import ConfigError
from signaling.tls import Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    (tmp_path / "state").mkdir()
    return Certificates(tmp_path / "state", SystemClock())


def files(folder: Path, name: str, days: int = 100) -> TlsConfig:
    """A certificate by openssl, as somebody else's tool makes it."""
    folder.mkdir(exist_ok=True)
    config = TlsConfig(str(folder / "chain.pem"), str(folder / "key.pem"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-days", str(days)),
            *("-keyout", str(config.key), "-out", str(config.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return config


def shown(certificates: Certificates) -> tuple[str, str]:
    """Name in the certificate that a client is shown, and the version of TLS; no sockets are needed."""
    current = certificates.current()
    assert current is not None
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    ends = [ssl.MemoryBIO() for _ in range(4)]
    client = client_context.wrap_bio(ends[0], ends[1])
    server = current[0].wrap_bio(ends[2], ends[3], server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
        ends[2].write(ends[1].read())
        ends[0].write(ends[3].read())
    der = client.getpeercert(binary_form=True)
    assert der is not None
    from cryptography import x509

    return x509.load_der_x509_certificate(der).subject.rfc4514_string(), str(client.version())


def test_none(certificates: Certificates) -> None:
    certificates.configure(None)
    assert certificates.current() is None


def test_self_signed(certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    certificates.configure(TlsConfig())
    name, version = shown(certificates)
    assert "self-signed" in name and version == "TLSv1.3"
    current = certificates.current()
    assert current is not None and current[1] is False
    assert current[0].minimum_version is ssl.TLSVersion.TLSv1_2
    assert "SHA-256" in caplog.text
    certificates.configure(None)
    assert certificates.current() is None


def test_files_are_followed(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = files(tmp_path / "one", "first")
    certificates.configure(config)
    assert shown(certificates)[0] == "CN=first"
    before = certificates.current()
    certificates.look()
    assert certificates.current() == before, "nothing changed, so sessions can be resumed"

    files(tmp_path / "two", "second")
    shutil.copy(tmp_path / "two/key.pem", tmp_path / "one/key.pem")
    certificates.look()
    certificates.look()
    assert shown(certificates)[0] == "CN=first"
    assert caplog.text.count("the key belongs to another certificate") == 1
    shutil.copy(tmp_path / "two/chain.pem", tmp_path / "one/chain.pem")
    certificates.look()
    assert shown(certificates)[0] == "CN=second"

    (tmp_path / "one/chain.pem").unlink()
    certificates.look()
    assert shown(certificates)[0] == "CN=second" and "No such file" in caplog.text


def test_a_link_that_is_turned(certificates: Certificates, tmp_path: Path) -> None:
    files(tmp_path / "one", "first")
    files(tmp_path / "two", "second")
    live = tmp_path / "live"
    live.symlink_to(tmp_path / "one")
    certificates.configure(TlsConfig(str(live / "chain.pem"), str(live / "key.pem")))
    turned = tmp_path / "turned"
    turned.symlink_to(tmp_path / "two")
    turned.replace(live)
    certificates.look()
    assert shown(certificates)[0] == "CN=second"


def test_what_cannot_be_used_changes_nothing(certificates: Certificates, tmp_path: Path) -> None:
    good = files(tmp_path / "good", "good")
    certificates.configure(good)
    encrypted = tmp_path / "encrypted.pem"
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:words", "-in", str(good.key), "-out", str(encrypted)],
        check=True,
        capture_output=True,
    )
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_bytes(os.urandom(500))
    for key, reason in (
        (encrypted, "without a passphrase"),
        (nonsense, "not a certificate chain and a private key in PEM"),
        (tmp_path / "missing.pem", "No such file"),
        (tmp_path, "cannot be"),
    ):
        with pytest.raises(ConfigError, match=reason) as refused:
            certificates.configure(TlsConfig(good.certificate, str(key)))
        assert "http.tls" in str(refused.value)
        assert shown(certificates)[0] == "CN=good"


def test_an_end_that_is_near_is_said(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates.configure(files(tmp_path / "old", "old", days=5))
    assert "renew it" in caplog.text
    current = certificates.current()
    assert current is not None and current[1] is True
