// Live figures of a session from two successive WebRTC statistics reports (W3C webrtc-stats).

/** The inbound video entry of an RTCStatsReport as plain numbers, or null before it exists. */
export function inboundVideo(report) {
  for (const entry of report.values()) {
    if (entry.type !== "inbound-rtp" || entry.kind !== "video") continue;
    return {
      atMs: entry.timestamp,
      frames: entry.framesDecoded ?? 0,
      octets: entry.bytesReceived ?? 0,
      packets: entry.packetsReceived ?? 0,
      lost: Math.max(entry.packetsLost ?? 0, 0),
      width: entry.frameWidth ?? 0,
      height: entry.frameHeight ?? 0,
      bufferS: entry.jitterBufferDelay ?? 0,
      buffered: entry.jitterBufferEmittedCount ?? 0,
    };
  }
  return null;
}

/** Rates between two entries of the same session. */
export function rates(before, now) {
  const seconds = (now.atMs - before.atMs) / 1000;
  if (!(seconds > 0)) return null;
  const lost = Math.max(now.lost - before.lost, 0);
  const expected = now.packets - before.packets + lost;
  const buffered = now.buffered - before.buffered;
  return {
    fps: (now.frames - before.frames) / seconds,
    bitrate: ((now.octets - before.octets) * 8) / seconds,
    lossShare: expected > 0 ? lost / expected : 0,
    bufferMs: buffered > 0 ? ((now.bufferS - before.bufferS) / buffered) * 1000 : null,
  };
}
