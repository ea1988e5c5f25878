// What this browser knows of a session: the path that media goes by, the decoder, and what both counted so far.

import { selectedPair } from "../media/statistics.js";

// Of a usual camera, for the question whether a device decodes it in hardware.
const BITRATE = 4_000_000;
const FPS = 25;

/** The codecs that this browser takes over WebRTC, by the names that the server uses: `H264`, `H265`, … */
function decodable() {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  return [...new Set(codecs.map(({ mimeType }) => mimeType.split("/")[1]))];
}

function addressOf(candidate) {
  if (!candidate?.address) return null;
  const host = candidate.address.includes(":") ? `[${candidate.address}]` : candidate.address;
  return `${host}:${candidate.port}`;
}

function pathOf(report) {
  const pair = selectedPair(report);
  if (!pair) return null;
  const local = report.get(pair.localCandidateId);
  const remote = report.get(pair.remoteCandidateId);
  return {
    local: local?.candidateType ?? null,
    remote: remote?.candidateType ?? null,
    // To a TURN server, where there is one, else to the media worker.
    protocol: local?.relayProtocol ?? local?.protocol ?? null,
    localAddress: addressOf(local),
    remoteAddress: addressOf(remote),
    rttMs: pair.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
  };
}

const efficient = new Map(); // by codec and size: asking takes a while

/** True when this device decodes such video without its processor; null where the browser does not say. */
async function decodesInHardware(codec, { frameWidth: width, frameHeight: height }) {
  if (!codec || !width) return null;
  const key = `${codec.mimeType} ${width} ${height}`;
  if (!efficient.has(key)) {
    const video = { contentType: codec.mimeType, width, height, bitrate: BITRATE, framerate: FPS };
    const info = await navigator.mediaCapabilities?.decodingInfo({ type: "webrtc", video }).catch(() => null);
    efficient.set(key, info?.powerEfficient ?? null);
  }
  return efficient.get(key);
}

async function decoderOf(report, video) {
  const codec = report.get(video.codecId);
  return {
    codec: codec ? codec.mimeType.split("/")[1] : null,
    format: codec?.sdpFmtpLine ?? null,
    decoder: video.decoderImplementation ?? null,
    powerEfficient: video.powerEfficientDecoder ?? (await decodesInHardware(codec, video)),
    width: video.frameWidth ?? null,
    height: video.frameHeight ?? null,
    packets: video.packetsReceived ?? 0,
    lost: Math.max(video.packetsLost ?? 0, 0),
    nacks: video.nackCount ?? 0,
    plis: video.pliCount ?? 0,
    decoded: video.framesDecoded ?? 0,
    dropped: video.framesDropped ?? 0,
    keyframes: video.keyFramesDecoded ?? null,
    freezes: video.freezeCount ?? 0,
    bufferMs: video.jitterBufferEmittedCount
      ? (video.jitterBufferDelay / video.jitterBufferEmittedCount) * 1000
      : null,
  };
}

/** Of an RTCPeerConnection, or of none: {connection, path, video, decodes, videos}, null where there is nothing. */
export async function read(peer) {
  const report = peer ? await peer.getStats() : new Map();
  const video = [...report.values()].find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  return {
    connection: peer?.connectionState ?? null,
    path: pathOf(report),
    video: video ? await decoderOf(report, video) : null,
    decodes: decodable(),
    // Pictures that this page decodes at a time.
    videos: [...document.querySelectorAll("video")].filter(({ srcObject }) => srcObject).length,
  };
}
