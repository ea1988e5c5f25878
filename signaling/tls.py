"""TLS of the listening port: which certificate new connections are shown; files are followed.

Connections that are open keep theirs. Files that cannot be used change nothing but the log.
"""

import datetime
import logging
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from common.access_config import TlsConfig
from common.clock import Clock
from common.errors import ConfigError
from signaling import self_signed

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
WARN_BEFORE = datetime.timedelta(days=14)
_Stamp = tuple[tuple[int, int, int] | None, ...]
"Inode, size and time of change in ns of each file."


class Certificates:
    """What the configuration says of TLS, as a context for new connections."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """`folder` keeps the self-signed certificate; it exists."""
        self._folder = folder
        self._clock = clock
        self._config: TlsConfig | None = None
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp = ()

    def current(self) -> tuple[ssl.SSLContext, bool] | None:
        """The context, and whether browsers may be told to insist on it; None: plain HTTP."""
        if self._context is None or self._config is None:
            return None
        return self._context, self._config.certificate is not None

    def configure(self, config: TlsConfig | None) -> None:
        """Takes over what the configuration says; raises ConfigError and leaves all as it was."""
        if config is None:
            self._config = self._context = None
            return
        if config == self._config:
            self.look()
            return
        certificate, key = self._files(config)
        stamp = _stamp(certificate, key)
        self._context = _load(certificate, key, self._now())
        self._config, self._stamp = config, stamp

    async def watch(self) -> None:
        """Looks at the files until cancelled."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Takes the files when they are others than before; says it when they cannot be used, once."""
        if self._config is None:
            return
        try:
            certificate, key = self._files(self._config)
            stamp = _stamp(certificate, key)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._context = _load(certificate, key, self._now())
        except ConfigError as exc:
            log.error("! TLS: %s; the certificate before stays in use", exc)

    def _files(self, config: TlsConfig) -> tuple[Path, Path]:
        if config.certificate is not None and config.key is not None:
            return Path(config.certificate), Path(config.key)
        try:
            return self_signed.ensure(self._folder, self._now())
        except OSError as exc:
            raise ConfigError(
                f"the self-signed certificate cannot be kept in {self._folder}: {exc.strerror or exc}"
            ) from exc

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock.utc_ns() / 1e9, datetime.UTC)


def _stamp(*paths: Path) -> _Stamp:
    stamps: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            found = path.stat()  # follows links: some clients of ACME only turn those
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(stamps)


def _load(certificate: Path, key: Path, now: datetime.datetime) -> ssl.SSLContext:
    """A server's context; raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Each costs a handshake; in TLS 1.2 a client may ask for as many as it likes.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    where = f"key http.tls: certificate {certificate} and key {key}"
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
        first = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ssl.SSLError as exc:
        reason = "they are not a certificate chain and a private key in PEM"
        if exc.reason == "KEY_VALUES_MISMATCH":
            reason = "the key belongs to another certificate"
        elif b"ENCRYPTED" in key.read_bytes():  # what OpenSSL says of it depends on its version
            reason = "the key is encrypted; give one without a passphrase"
        raise ConfigError(f"{where} cannot be used: {reason}") from None
    except (OSError, ValueError) as exc:
        said = exc.strerror if isinstance(exc, OSError) else None
        raise ConfigError(f"{where} cannot be read: {said or exc}") from None
    ends = first.not_valid_after_utc
    fingerprint = first.fingerprint(hashes.SHA256()).hex(":")
    log.info("= TLS: certificate until %s, SHA-256 %s", ends.date(), fingerprint)
    if ends - now < WARN_BEFORE:
        log.warning("! TLS: the certificate %s ends on %s; renew it", certificate, ends.date())
    return context
