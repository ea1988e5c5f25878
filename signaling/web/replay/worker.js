// Keeps the encoded pictures of the last half minute as they pass, and plays them again on a canvas of their own.
//
// Pictures come by RTCRtpScriptTransform (W3C webrtc-encoded-transform) with the `recording` that they belong to, and go
// on unchanged. A tile has the recordings of its sessions, one after the other. Messages in: `assign` {recording, tile},
// `end` {recording} (its connection is closed, which the stream of its pictures does not say in all browsers),
// `forget` {tile}, `play` {tile, canvas, run}, `seek` {atMs}, `pause`, `resume`, `stop`. Out: `kept` {tiles: [[tile, ms]…]}
// each second, and of the `run`: `playing` {atMs, lengthMs, arrivedMs} for each picture shown, `ended`, `failed` {text}.

const KEPT_MS = 30_000;
const MOST_OCTETS = 128 << 20; // of all tiles
const LONGEST_STEP_MS = 1000; // a gap in the pictures is not sat through
const AHEAD = 6; // pictures that are decoded before they are due
const TICK_MS = 10;
const LOOK_MS = 1000;
const SPS = 7; // NAL unit type (ITU-T H.264 table 7-1)

const recordings = new Map(); // id -> {pictures: [{key, data, rtpTimestamp, atMs: of arrival by Date, keptAt: by performance.now()}], over, reader}
const tiles = new Map(); // tile -> ids of its recordings, oldest first
let octets = 0;
let replay = null;

onrtctransform = async ({ transformer }) => {
  const reader = transformer.readable.getReader();
  const recording = { pictures: [], over: false, reader };
  recordings.set(transformer.options.recording, recording);
  const writer = transformer.writable.getWriter();
  try {
    for (;;) {
      const { done, value: frame } = await reader.read();
      if (done) break;
      keep(recording, frame);
      writer.write(frame);
    }
  } finally {
    recording.over = true;
  }
};

/** Takes a copy, if there is room for one: whatever happens here, the picture goes on to its decoder. */
function keep({ pictures }, frame) {
  const key = frame.type === "key";
  if (pictures.length === 0 && !key) return;
  let data;
  try {
    data = new Uint8Array(frame.data.slice(0));
  } catch {
    drop(pictures, pictures.length); // no memory; what follows needs what is missing
    return;
  }
  const { rtpTimestamp = frame.timestamp } = frame.getMetadata();
  pictures.push({ key, data, rtpTimestamp, atMs: Date.now(), keptAt: performance.now() });
  octets += data.length;
  if (key) trim(pictures);
}

/** Forgets from the front, up to a keyframe always. */
function trim(pictures) {
  for (;;) {
    const next = pictures.findIndex(({ key }, index) => index > 0 && key);
    if (next < 0) return;
    if (performance.now() - pictures[next].keptAt < KEPT_MS) return;
    drop(pictures, next);
  }
}

function drop(pictures, count) {
  for (const { data } of pictures.splice(0, count)) octets -= data.length;
}

function discard(id) {
  const { pictures } = recordings.get(id);
  drop(pictures, pictures.length);
  recordings.delete(id);
}

/** Keeps all tiles together within their room: the largest gives up its oldest GOP, or all where it has no other. */
function bound() {
  while (octets > MOST_OCTETS) {
    const size = ({ pictures }) => pictures.reduce((sum, { data }) => sum + data.length, 0);
    const [largest] = [...recordings.values()].sort((one, other) => size(other) - size(one));
    const next = largest.pictures.findIndex(({ key }, index) => index > 0 && key);
    drop(largest.pictures, next > 0 ? next : largest.pictures.length);
  }
}

/** Forgets sessions that ended half a minute ago, or that no tile ever had. */
function look() {
  bound();
  const assigned = new Set([...tiles.values()].flat());
  for (const [id, { pictures, over }] of recordings) {
    const old = pictures.length === 0 || performance.now() - pictures.at(-1).keptAt > KEPT_MS;
    if (over && (old || !assigned.has(id))) discard(id);
  }
  for (const [tile, ids] of tiles) tiles.set(tile, ids.filter((id) => recordings.has(id)));
  const known = [...tiles].map(([tile, ids]) => {
    const first = picturesOf(ids)[0];
    return [tile, first && codecOf(first.data) ? performance.now() - first.keptAt : 0];
  });
  postMessage({ type: "kept", tiles: known });
}

function picturesOf(ids) {
  return ids.flatMap((id) => recordings.get(id)?.pictures ?? []);
}

/** The codec string of an H.264 stream, from the SPS of a keyframe (RFC 6381 section 3.3), or null. */
function codecOf(data) {
  for (let at = 0; at + 7 < data.length; at++) {
    if (data[at] === 0 && data[at + 1] === 0 && data[at + 2] === 1 && (data[at + 3] & 0x1f) === SPS) {
      return `avc1.${[4, 5, 6].map((next) => data[at + next].toString(16).padStart(2, "0")).join("")}`;
    }
  }
  return null;
}

/** The pictures with the times at which they are due from the beginning, in ms. */
function timed(pictures) {
  let dueMs = 0;
  return pictures.map((picture, index) => {
    if (index > 0) {
      // RTP timestamps of 90 kHz wrap (RFC 3550 section 5.1), and begin anew with each session.
      const ticks = (picture.rtpTimestamp - pictures[index - 1].rtpTimestamp) | 0;
      dueMs += Math.min(Math.max(ticks / 90, 0), LONGEST_STEP_MS);
    }
    return { ...picture, dueMs };
  });
}

class Replay {
  #run;
  #pictures;
  #canvas;
  #context;
  #decoder = null;
  #codec = null;
  #next = 0; // picture to decode
  #decoded = []; // VideoFrames that wait for their time
  #fromMs = 0; // what is due before is decoded, and not shown
  #clockMs = 0; // where the replay stands
  #tickedAt = 0;
  #paused = false;
  #timer;

  constructor(run, canvas, pictures) {
    this.#run = run;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#pictures = timed(pictures);
    this.seek(this.#lengthMs - KEPT_MS); // more is there where keyframes are far apart
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  seek(atMs) {
    this.#close();
    this.#fromMs = Math.min(Math.max(atMs, 0), this.#lengthMs);
    this.#clockMs = this.#fromMs;
    this.#tickedAt = performance.now();
    this.#next = this.#pictures.findLastIndex(({ key, dueMs }) => key && dueMs <= this.#fromMs);
    this.#codec = null;
    this.#decoder = new VideoDecoder({
      output: (frame) => this.#take(frame),
      error: (error) => this.#finish({ type: "failed", text: error.message }),
    });
  }

  pause() {
    this.#paused = true;
  }

  resume() {
    this.#paused = false;
  }

  stop() {
    clearInterval(this.#timer);
    this.#close();
  }

  get #lengthMs() {
    return this.#pictures.at(-1).dueMs;
  }

  #finish(message) {
    this.stop();
    if (replay === this) replay = null; // its pictures are not kept any longer
    this.#tell(message);
  }

  #tell(message) {
    postMessage({ ...message, run: this.#run });
  }

  #close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoded.forEach((frame) => frame.close());
    this.#decoded = [];
  }

  #take(frame) {
    if (frame.timestamp / 1000 < this.#fromMs - 1) frame.close();
    else this.#decoded.push(frame);
  }

  #decode({ key, data, dueMs }) {
    const codec = key ? codecOf(data) : null;
    if (codec && codec !== this.#codec) {
      this.#decoder.configure({ codec, optimizeForLatency: true });
      this.#codec = codec;
    }
    const type = key ? "key" : "delta";
    this.#decoder.decode(new EncodedVideoChunk({ type, timestamp: Math.round(dueMs * 1000), data }));
  }

  #tick() {
    const now = performance.now();
    if (!this.#paused) this.#clockMs += now - this.#tickedAt;
    this.#tickedAt = now;
    while (this.#next < this.#pictures.length && this.#decoded.length + this.#decoder.decodeQueueSize < AHEAD) {
      this.#decode(this.#pictures[this.#next++]);
      if (this.#next === this.#pictures.length) this.#decoder.flush().catch(() => {});
    }
    let due = null;
    while (this.#decoded.length && this.#decoded[0].timestamp / 1000 <= this.#clockMs) {
      due?.close();
      due = this.#decoded.shift();
    }
    if (due) this.#show(due);
    else if (this.#decoded.length === 0 && this.#next < this.#pictures.length) {
      // The decoder is behind: the clock waits for it.
      this.#clockMs = Math.min(this.#clockMs, Math.max(this.#fromMs, this.#pictures[this.#next].dueMs));
    }
    if (this.#clockMs > this.#lengthMs + LOOK_MS / 2) {
      this.#finish({ type: "ended" });
    }
  }

  #show(frame) {
    const atMs = frame.timestamp / 1000;
    if (this.#canvas.width !== frame.displayWidth || this.#canvas.height !== frame.displayHeight) {
      this.#canvas.width = frame.displayWidth;
      this.#canvas.height = frame.displayHeight;
    }
    this.#context.drawImage(frame, 0, 0);
    frame.close();
    const arrivedMs = this.#pictures.find(({ dueMs }) => dueMs >= atMs - 1).atMs;
    this.#tell({ type: "playing", atMs, lengthMs: this.#lengthMs, arrivedMs });
  }
}

function play({ tile, canvas, run }) {
  replay?.stop();
  replay = null;
  const pictures = picturesOf(tiles.get(tile) ?? []);
  if (pictures.length === 0) postMessage({ type: "failed", text: "no pictures are kept", run });
  else replay = new Replay(run, canvas, pictures);
}

function end(id) {
  const recording = recordings.get(id);
  if (!recording) return;
  recording.over = true;
  recording.reader.cancel().catch(() => {});
}

function forget(tile) {
  for (const id of tiles.get(tile) ?? []) {
    if (recordings.has(id)) discard(id);
  }
  tiles.delete(tile);
}

onmessage = ({ data }) => {
  switch (data.type) {
    case "assign":
      tiles.set(data.tile, [...(tiles.get(data.tile) ?? []), data.recording]);
      break;
    case "end":
      end(data.recording);
      break;
    case "forget":
      forget(data.tile);
      break;
    case "play":
      play(data);
      break;
    case "seek":
      replay?.seek(data.atMs);
      break;
    case "pause":
      replay?.pause();
      break;
    case "resume":
      replay?.resume();
      break;
    case "stop":
      replay?.stop();
      replay = null;
      break;
  }
};

setInterval(look, LOOK_MS);
