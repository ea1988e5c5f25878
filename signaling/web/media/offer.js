// Offers made ahead of time: making one takes a browser 50 ms, which nobody who clicks should wait for.

const FRESH_MS = 60_000; // later the network may be another, with other candidates

// Browsers have these header extensions but offer some only when asked: capture time and playout delay.
const EXTENSIONS = /abs-capture-time|playout-delay|transport-wide-cc/;

function askForExtensions(transceiver) {
  const known = transceiver.getHeaderExtensionsToNegotiate?.();
  if (!known) return;
  const asked = known.map((extension) =>
    EXTENSIONS.test(extension.uri) && extension.direction === "stopped"
      ? { ...extension, direction: "recvonly" }
      : extension,
  );
  try {
    transceiver.setHeaderExtensionsToNegotiate(asked);
  } catch {
    // The ones that are offered anyway have to do.
  }
}

/** A peer connection that wants video and sound. */
class Offer {
  #recorder;
  candidates = []; // gathered before anybody listened
  recording = null; // the recorder's number of it
  madeAt = performance.now();

  constructor(iceServers, recorder) {
    this.#recorder = recorder;
    this.iceServers = JSON.stringify(iceServers);
    this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers });
    for (const kind of ["video", "audio"]) {
      const transceiver = this.peer.addTransceiver(kind, { direction: "recvonly" });
      askForExtensions(transceiver);
      const { receiver } = transceiver;
      if (kind === "video" && recorder?.works) this.recording = recorder.attach(receiver);
      // Live view: no more buffering than the network's jitter asks for; both alike, to stay in step.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
    }
    this.peer.onicecandidate = ({ candidate }) => {
      if (candidate) this.candidates.push(candidate);
    };
    this.ready = this.peer.setLocalDescription();
    this.ready.catch(() => {}); // whoever takes the offer awaits it
  }

  close() {
    this.peer.close();
    if (this.recording !== null) this.#recorder.end(this.recording);
  }
}

/** Has one offer ready for whoever is first. */
export class Offers {
  #spare = null;
  #recorder;

  /** `recorder`, if there is one, is given the video of all sessions. */
  constructor(recorder) {
    this.#recorder = recorder;
    addEventListener("online", () => this.#drop());
  }

  /** Makes an offer now for whoever takes the next one. */
  prepare(iceServers) {
    if (this.#fits(iceServers)) return;
    this.#drop();
    try {
      this.#spare = new Offer(iceServers, this.#recorder);
    } catch {
      // The browser has too many; whoever takes an offer is told.
    }
  }

  /** `{peer, candidates, recording, ready, close()}`: the description is set when `ready` is fulfilled. */
  take(iceServers) {
    const offer = this.#fits(iceServers) ? this.#spare : new Offer(iceServers, this.#recorder);
    if (offer === this.#spare) this.#spare = null;
    else this.#drop();
    return offer;
  }

  #fits(iceServers) {
    const offer = this.#spare;
    return (
      offer !== null &&
      offer.iceServers === JSON.stringify(iceServers) &&
      performance.now() - offer.madeAt < FRESH_MS
    );
  }

  #drop() {
    this.#spare?.close();
    this.#spare = null;
  }
}
