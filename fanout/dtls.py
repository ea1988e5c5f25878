"""DTLS-SRTP server of one viewer (RFC 5764): aiortc's RTCDtlsTransport over our ICE.

The only file that touches aiortc's private names: the profile list, the role, the SSL connection for the
exporter, and the SRTP sessions, which serve RTCP here.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

import pylibsrtp
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)
from OpenSSL import SSL

from common.errors import ViewerError
from fanout.srtp import MasterKey, ProfileName

log = logging.getLogger(__name__)

# In the order of preference; the server picks (RFC 5764 section 4.1.2).
_PROFILES: tuple[tuple[SRTPProtectionProfile, ProfileName], ...] = (
    (SRTP_AEAD_AES_128_GCM, "SRTP_AEAD_AES_128_GCM"),
    (SRTP_AEAD_AES_256_GCM, "SRTP_AEAD_AES_256_GCM"),
    (SRTP_AES128_CM_SHA1_80, "SRTP_AES128_CM_SHA1_80"),
)
_EXPORTER_LABEL = b"EXTRACTOR-dtls_srtp"  # RFC 5764 section 4.2
_MAX_WAITING_RECORDS = 32
_RECORD_HEADER = 13  # RFC 6347 section 4.1
_APPLICATION_DATA = 23
# libsrtp keeps state for every SSRC; a browser has one for each track and one for its reports.
_MAX_RTCP_SENDERS = 32


class Certificate(RTCCertificate):
    """One self-signed certificate for a whole worker, with one SSL context for all its viewers."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
        return self._context

    @property
    def sha256(self) -> str:
        """The SHA-256 fingerprint as SDP writes it (RFC 8122 section 5)."""
        return next(f.value for f in self.getFingerprints() if f.algorithm == "sha-256")


def _nothing(*_: object) -> None:
    """What is told to nobody."""


class _IcePipe:
    """What RTCDtlsTransport needs of an ICE transport: datagrams in order, one way out."""

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._out = send
        self._records: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING_RECORDS)

    def put(self, record: bytes) -> None:
        """Hands a received record over; a flood is dropped, DTLS repeats what it needs."""
        if not self._records.full():
            self._records.put_nowait(record)

    def release(self) -> None:
        """Sends nothing more."""
        self._out = _nothing

    async def _recv(self) -> bytes:
        return await self._records.get()

    async def _send(self, data: bytes) -> None:
        self._out(data)


class DtlsServer(RTCDtlsTransport):
    """One viewer's DTLS association, in the server role (`a=setup:passive`).

    `on_closed()` is called when the peer ends the association.
    """

    def __init__(
        self, certificate: Certificate, send: Callable[[bytes], None], on_closed: Callable[[], None]
    ) -> None:
        self._pipe = _IcePipe(send)
        super().__init__(self._pipe, [certificate])  # type: ignore[arg-type]  # duck-typed by aiortc
        self._role = "server"
        self._srtp_profiles = [profile for profile, _ in _PROFILES]
        self._master: MasterKey | None = None
        self._on_closed = on_closed
        self._rtcp_senders: set[bytes] = set()

    async def handshake(self, fingerprints: Sequence[tuple[str, str]]) -> MasterKey:
        """Serves the handshake and gives the key for what we send.

        `fingerprints` are the (algorithm, value) pairs of the offer. Raises ViewerError when the peer fails
        the handshake, its certificate does not match, or it takes none of our SRTP profiles.
        """
        remote = RTCDtlsParameters([RTCDtlsFingerprint(name, value) for name, value in fingerprints])
        try:
            await self.start(remote)
        except Exception as exc:
            # What OpenSSL accepts, the parser of the certificate may still choke on.
            raise ViewerError(f"the viewer's DTLS handshake cannot be read ({type(exc).__name__})") from exc
        if self._master is None or self.state != "connected":
            raise ViewerError(
                "the viewer failed the DTLS handshake: its certificate must match the offer's fingerprint"
            )
        self.on("statechange", self._state_changed)
        return self._master

    def release(self) -> None:
        """After `stop`: lets go of the callbacks and the TLS buffers."""
        self.remove_all_listeners()
        self._pipe.release()
        self._on_closed = _nothing
        self._ssl = None

    def _state_changed(self) -> None:
        if self.state == "closed":
            self._on_closed()

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        assert self._ssl is not None
        chosen = self._ssl.get_selected_srtp_profile()
        for profile, name in _PROFILES:
            if profile.openssl_profile == chosen:
                length = 2 * (profile.key_length + profile.salt_length)
                material = self._ssl.export_keying_material(_EXPORTER_LABEL, length)
                # The server's write key is the second one (RFC 5764 section 4.2).
                both = profile.get_key_and_salt(material, 1)
                self._master = MasterKey(name, both[: profile.key_length], both[profile.key_length :])

    def feed(self, datagram: bytes) -> None:
        """Takes received DTLS records (first octet 20 to 63, RFC 7983)."""
        if self._master is None:
            self._pipe.put(datagram)
            return
        # aiortc reads one record of a datagram now, the others would wait for ever; application data is
        # for data channels, which nobody here has.
        position = 0
        while position + _RECORD_HEADER <= len(datagram):
            end = position + _RECORD_HEADER + int.from_bytes(datagram[position + 11 : position + 13], "big")
            if datagram[position] != _APPLICATION_DATA:
                self._pipe.put(datagram[position:end])
            position = end

    def unprotect_rtcp(self, data: bytes) -> bytes:
        """The RTCP in an SRTCP packet; raises ViewerError when it is not authentic or comes too early."""
        if self._rx_srtp is None:
            raise ViewerError("SRTCP before the DTLS handshake")
        ssrc = data[4:8]  # in the clear (RFC 3711 section 3.4)
        if ssrc not in self._rtcp_senders and len(self._rtcp_senders) >= _MAX_RTCP_SENDERS:
            raise ViewerError(f"SRTCP of more than {_MAX_RTCP_SENDERS} SSRCs")
        try:
            plain: bytes = self._rx_srtp.unprotect_rtcp(data)
        except (pylibsrtp.Error, ValueError) as exc:
            raise ViewerError(f"SRTCP is not authentic: {exc}") from None
        self._rtcp_senders.add(ssrc)
        return plain

    def protect_rtcp(self, data: bytes) -> bytes:
        """RTCP as SRTCP; only after `handshake`."""
        protected: bytes = self._tx_srtp.protect_rtcp(data)
        return protected
