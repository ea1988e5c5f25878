// One WebRTC session: a peer connection here, a viewer at one of the server's media workers there.

const SOON_MS = 1000;
const SOON_POLL_MS = 10; // a quarter of a frame interval
const LATE_POLL_MS = 250;

/** Public fields are for reading. */
export class Session {
  id = null; // the server's name for it, once it has answered
  showing = null; // what the server gives: {showing: "main", "sub" or "keyframes", reason}
  sawPicture = false;
  stream = new MediaStream();

  #signaling;
  #offer;
  #closed = false;

  /** `onvideo()` is called when there is a video track, `onstate()` for each state of the connection. */
  constructor(signaling, offer, onvideo, onstate) {
    this.#signaling = signaling;
    this.#offer = offer;
    this.peer = offer.peer;
    this.peer.ontrack = ({ track }) => {
      this.stream.addTrack(track);
      if (track.kind === "video") onvideo();
    };
    this.peer.onconnectionstatechange = () => {
      if (!this.#closed) onstate();
    };
  }

  /** The receiver of the video. */
  get video() {
    return this.peer.getReceivers()[0];
  }

  /** Opens it with that quality; `replaces` names a session that is left for it. Throws. */
  async open(camera, quality, replaces = undefined) {
    await this.#offer.ready;
    await this.#signaling.opened();
    if (this.#closed) return;
    const { sdp } = this.peer.localDescription;
    const answer = await this.#signaling.request({ type: "offer", camera, sdp, quality, replaces });
    this.id = answer.session;
    if (this.#closed) {
      this.#tellEnd();
      return;
    }
    await this.peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    // With ICE lite the server only answers checks, and needs no candidate.
    if (/^a=ice-lite\r?$/m.test(answer.sdp)) this.peer.onicecandidate = null;
    else this.#trickle();
  }

  /** Waits until a picture is decoded, which needs nobody who shows it; throws after `deadlineMs`. */
  async picture(deadlineMs) {
    const began = performance.now();
    while (!this.#closed && performance.now() - began < deadlineMs) {
      for (const entry of (await this.peer.getStats()).values()) {
        if (entry.type === "inbound-rtp" && entry.framesDecoded > 0) return;
      }
      const pauseMs = performance.now() - began < SOON_MS ? SOON_POLL_MS : LATE_POLL_MS;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    throw new Error("no picture came");
  }

  /** Asks for a quality; throws when it is refused. */
  async select(quality) {
    await this.#signaling.request({ type: "select", session: this.id, quality });
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    if (this.id) this.#tellEnd();
    this.peer.ontrack = null;
    this.peer.onconnectionstatechange = null;
    this.peer.onicecandidate = null;
    this.#offer.close();
  }

  #tellEnd() {
    this.#signaling.tell({ type: "close", session: this.id });
  }

  /** Tells the server where it may find this browser: a TURN server lets only those in that it was told of. */
  #trickle() {
    const tell = (candidate) =>
      this.#signaling.tell({ type: "candidate", session: this.id, candidate });
    this.#offer.candidates.forEach(tell);
    this.peer.onicecandidate = ({ candidate }) => {
      if (candidate && !this.#closed) tell(candidate);
    };
  }
}
