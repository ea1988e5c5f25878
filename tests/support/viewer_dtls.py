"""A test viewer's DTLS client and SRTP keys (RFC 5764), on pyOpenSSL and libsrtp alone."""

import contextlib
from dataclasses import dataclass
from functools import cache

import pylibsrtp
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate, SRTPProtectionProfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

_DATAGRAM = 1200
_READ = 1 << 16

# Each is an SRTP profile name of OpenSSL (SSL_CTX_set_tlsext_use_srtp(3)).
BROWSER_PROFILES = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"


class DtlsError(Exception):
    """The handshake failed, or the certificate is not the one that the answer named."""


@cache
def certificate() -> RTCCertificate:
    """One certificate for all viewers of this process: browsers make one per page, load tests need none."""
    return RTCCertificate.generateCertificate()


def fingerprint() -> str:
    """SHA-256 fingerprint of this process's certificate, as SDP writes it."""
    return certificate().getFingerprints()[0].value


@cache
def _context(profiles: str) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    own = certificate()
    context.use_certificate(own._cert)
    context.use_privatekey(own._key)
    context.set_tlsext_use_srtp(profiles.encode())
    return context


def _hex(digest: bytes) -> str:
    return ":".join(f"{octet:02X}" for octet in digest)


@dataclass(frozen=True, slots=True)
class Srtp:
    """Both directions' libsrtp sessions."""

    profile: str
    overhead: int
    "Octets that protection adds to an RTP packet."
    inbound: pylibsrtp.Session
    outbound: pylibsrtp.Session


class DtlsClient:
    """Sans-IO DTLS client: datagrams in by `feed`, datagrams out by `data_to_send`."""

    def __init__(self, fingerprints: tuple[tuple[str, str], ...], profiles: str = BROWSER_PROFILES) -> None:
        self._fingerprints = fingerprints
        self._ssl = SSL.Connection(_context(profiles), None)
        self._ssl.set_ciphertext_mtu(_DATAGRAM)
        self._ssl.set_connect_state()
        self.srtp: Srtp | None = None
        self.closed_by_peer = False

    def start(self) -> None:
        """Makes the ClientHello."""
        self._step()

    def feed(self, datagram: bytes) -> None:
        """Takes a DTLS datagram; raises DtlsError."""
        self._ssl.bio_write(datagram)
        if self.srtp is None:
            self._step()
            return
        try:
            self._ssl.recv(_READ)
        except SSL.ZeroReturnError:
            self.closed_by_peer = True
        except SSL.Error:
            pass

    def data_to_send(self) -> bytes:
        """What has to go out as one datagram, empty when nothing has."""
        try:
            return self._ssl.bio_read(_READ)
        except SSL.Error:
            return b""

    def timeout(self) -> float | None:
        """Seconds until `retransmit` is due."""
        timeout: float | None = self._ssl.DTLSv1_get_timeout()
        return timeout

    def retransmit(self) -> None:
        """Repeats the last flight (RFC 6347 section 4.2.4)."""
        self._ssl.DTLSv1_handle_timeout()

    def close(self) -> None:
        """Makes the close_notify alert."""
        with contextlib.suppress(SSL.Error):
            self._ssl.shutdown()

    def _step(self) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as exc:
            raise DtlsError(f"DTLS handshake failed: {exc}") from exc
        self._check_peer()
        self.srtp = self._keys()

    def _check_peer(self) -> None:
        peer: x509.Certificate | None = self._ssl.get_peer_certificate(as_cryptography=True)
        assert peer is not None
        known = {"sha-256": hashes.SHA256(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512()}
        usable = [(name, value) for name, value in self._fingerprints if name in known]
        if not usable:
            raise DtlsError("answer names no fingerprint of a known hash")
        for name, value in usable:
            if _hex(peer.fingerprint(known[name])) != value:
                raise DtlsError(f"peer's certificate does not have the answer's {name} fingerprint")

    def _keys(self) -> Srtp:
        name: bytes = self._ssl.get_selected_srtp_profile()
        profile = next((known for known in SRTP_PROFILES if known.openssl_profile == name), None)
        if profile is None:
            raise DtlsError(f"peer selected the SRTP profile {name!r}")
        material = self._ssl.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        # Client's write key first (RFC 5764 section 4.2).
        return Srtp(
            profile=name.decode(),
            overhead=10 if name == b"SRTP_AES128_CM_SHA1_80" else 16,
            inbound=_session(profile, profile.get_key_and_salt(material, 1), inbound=True),
            outbound=_session(profile, profile.get_key_and_salt(material, 0), inbound=False),
        )


def _session(profile: SRTPProtectionProfile, key: bytes, *, inbound: bool) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(
        key=key,
        ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND if inbound else pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=profile.libsrtp_profile,
    )
    # No replay window of its own in the way: a test wants to see what was sent twice.
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)
