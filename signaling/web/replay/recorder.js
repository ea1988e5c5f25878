// What this browser received in the last half minute, for all tiles, kept by a worker as it passes to the decoders.

/** True where the browser hands out encoded pictures and decodes them (a secure context: HTTPS or localhost). */
export const canRecord = "RTCRtpScriptTransform" in globalThis && "VideoDecoder" in globalThis;

/** Event `kept` once a second; what the worker says of a replay comes as `replay`, with its message as detail. */
export class Recorder extends EventTarget {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #recordings = 0;
  #kept = new Map(); // tile -> ms
  works = true;

  constructor() {
    super();
    // Pictures do not pass a worker that did not start: further sessions go without it.
    this.#worker.onerror = () => {
      this.works = false;
    };
    this.#worker.onmessage = ({ data }) => {
      if (data.type === "kept") {
        this.#kept = new Map(data.tiles);
        this.dispatchEvent(new Event("kept"));
      } else {
        this.dispatchEvent(new CustomEvent("replay", { detail: data }));
      }
    };
  }

  /** Records what an RTCRtpReceiver will get; before its connection begins, as browsers want it. Gives a number. */
  attach(receiver) {
    const recording = ++this.#recordings;
    receiver.transform = new RTCRtpScriptTransform(this.#worker, { recording });
    return recording;
  }

  /** The recording is of this tile, after those that it has. */
  assign(recording, tile) {
    this.tell({ type: "assign", recording, tile });
  }

  /** Its connection is closed. */
  end(recording) {
    this.tell({ type: "end", recording });
  }

  forget(tile) {
    this.#kept.delete(tile);
    this.tell({ type: "forget", tile });
  }

  /** How much of a tile is kept, in ms. */
  keptMs(tile) {
    return this.#kept.get(tile) ?? 0;
  }

  tell(message, transfer = []) {
    this.#worker.postMessage(message, transfer);
  }
}
