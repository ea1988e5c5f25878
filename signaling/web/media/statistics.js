// Live figures of a session from two successive WebRTC statistics reports (W3C webrtc-stats).

import { NTP_TO_UNIX_MS } from "./capture_clock.js";

const RECENT_NTP_MS = 3_000_000_000_000; // some browsers give the playout time in Unix time

function inbound(report, kind) {
  for (const entry of report.values()) {
    if (entry.type === "inbound-rtp" && entry.kind === kind) return entry;
  }
  return null;
}

/** The candidate pair that media goes by, or null. */
export function selectedPair(report) {
  for (const entry of report.values()) {
    if (entry.type === "transport" && entry.selectedCandidatePairId) {
      return report.get(entry.selectedCandidatePairId) ?? null;
    }
  }
  // Firefox has no transport entries, but says it of the pair.
  for (const entry of report.values()) {
    if (entry.type === "candidate-pair" && (entry.selected || entry.nominated)) return entry;
  }
  return null;
}

/** When the picture that plays was captured, as sender reports tell it: UTC in ms, or null. */
function playoutUtcMs({ estimatedPlayoutTimestamp: at }) {
  if (!at) return null;
  return at > RECENT_NTP_MS ? at - NTP_TO_UNIX_MS : at;
}

/** The inbound entries of an RTCStatsReport as plain numbers, or null before there is video. */
export function received(report) {
  const video = inbound(report, "video");
  if (!video) return null;
  const audio = inbound(report, "audio");
  const roundTripS = selectedPair(report)?.currentRoundTripTime;
  return {
    atMs: video.timestamp,
    frames: video.framesDecoded ?? 0,
    octets: video.bytesReceived ?? 0,
    packets: video.packetsReceived ?? 0,
    lost: Math.max(video.packetsLost ?? 0, 0),
    width: video.frameWidth ?? 0,
    height: video.frameHeight ?? 0,
    bufferS: video.jitterBufferDelay ?? 0,
    buffered: video.jitterBufferEmittedCount ?? 0,
    freezes: video.freezeCount ?? 0,
    freezesS: video.totalFreezesDuration ?? 0,
    dropped: video.framesDropped ?? 0,
    rttMs: roundTripS === undefined ? null : roundTripS * 1000,
    playoutUtcMs: playoutUtcMs(video),
    audioOctets: audio?.bytesReceived ?? 0,
    audioPackets: audio?.packetsReceived ?? 0,
  };
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
    audioBitrate: ((now.audioOctets - before.audioOctets) * 8) / seconds,
    lossShare: expected > 0 ? lost / expected : 0,
    dropped: now.dropped - before.dropped,
    bufferMs: buffered > 0 ? ((now.bufferS - before.bufferS) / buffered) * 1000 : null,
  };
}
