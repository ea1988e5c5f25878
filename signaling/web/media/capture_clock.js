// When the camera captured a picture: the server announces it for some pictures (abs-capture-time header extension),
// RTP timestamps carry it on to the others.

const CLOCK_RATE_KHZ = 90; // of video (RFC 3551 section 5)
export const NTP_TO_UNIX_MS = 2_208_988_800_000; // RFC 868: from 1900 to 1970
const WRAP = 2 ** 32;

/** From one RTP timestamp of video to another, in ms, before or after (RFC 3550 section 5.1: they wrap). */
export function msBetween(before, after) {
  const ticks = (after - before + WRAP) % WRAP;
  return (ticks < WRAP / 2 ? ticks : ticks - WRAP) / CLOCK_RATE_KHZ;
}

export class CaptureClock {
  #anchor = null; // {rtpTimestamp, utcMs}

  /** Takes in what a receiver's getSynchronizationSources() says now. */
  note(sources) {
    const source = sources.find(({ captureTimestamp }) => captureTimestamp > 0);
    if (!source) return;
    this.#anchor = {
      rtpTimestamp: source.rtpTimestamp,
      utcMs: source.captureTimestamp - NTP_TO_UNIX_MS,
    };
  }

  /** UTC in ms at which the picture of an RTP timestamp was captured, by the server's clock; null while unknown. */
  utcMs(rtpTimestamp) {
    if (this.#anchor === null || rtpTimestamp === undefined) return null;
    return this.#anchor.utcMs + msBetween(this.#anchor.rtpTimestamp, rtpTimestamp);
  }
}
