"""Arithmetic of RTP's wrapping numbers: 16-bit sequence, 32-bit timestamp (RFC 3550 sections 5.1, A.1)."""

from dataclasses import dataclass

TIMESTAMP_MODULUS = 1 << 32
VIDEO_CLOCK_RATE = 90_000  # RFC 6184 section 8.2.1, RFC 7798 section 7.1
NTP_UNIX_OFFSET_S = 2_208_988_800  # 1900-01-01 to 1970-01-01 (RFC 5905)


def sequence_delta(later: int, earlier: int) -> int:
    """Signed distance between two 16-bit sequence numbers, -32768 … 32767."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """Signed distance between two 32-bit RTP timestamps, in ticks."""
    return ((later - earlier + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


@dataclass(slots=True)
class Unwrapper:
    """Extends 32-bit RTP timestamps to 64 bits; steps of less than half the range may go either way."""

    last: int | None = None

    def unwrap(self, timestamp: int) -> int:
        """The timestamp as a 64-bit count that does not wrap; the first one is kept as it is."""
        last = self.last
        if last is None:
            self.last = timestamp
            return timestamp
        unwrapped = last + timestamp_delta(timestamp, last & 0xFFFF_FFFF)
        self.last = unwrapped
        return unwrapped


def ntp_to_unix_ns(ntp: int) -> int:
    """A 64-bit NTP timestamp (RFC 3550 section 4) as UTC nanoseconds since 1970."""
    return ((ntp >> 32) - NTP_UNIX_OFFSET_S) * 1_000_000_000 + ((ntp & 0xFFFF_FFFF) * 1_000_000_000 >> 32)


def unix_ns_to_ntp(unix_ns: int) -> int:
    """UTC nanoseconds since 1970 as a 64-bit NTP timestamp (RFC 3550 section 4)."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return ((seconds + NTP_UNIX_OFFSET_S) << 32) | ((nanoseconds << 32) // 1_000_000_000)
