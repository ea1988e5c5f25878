// One camera in one video element: a WebRTC session that is made anew whenever it dies.

import { Backoff } from "./backoff.js";
import { Offers } from "./offer.js";
import { rates, received } from "./statistics.js";

const POLL_MS = 1000;
const DISCONNECTED_MS = 2000; // ICE often recovers from a short loss by itself
const CONNECT_MS = 10_000;
const STALLED_MS = 5000; // by then the server has said so when it is the camera that is silent
const FRAME_MS = 40; // until the camera's frame rate is known
const KEYFRAME_MS = 10_000; // until the camera's GOP is known

/**
 * `show()` is called whenever something to be seen has changed. Public fields are for reading:
 * `phase` is "idle", "connecting", "playing" or "waiting" (for the next attempt).
 */
export class Player {
  phase = "idle";
  camera = null;
  session = null;
  problem = ""; // why the last attempt failed
  reconnects = 0;
  firstFrameMs = null; // from the wish to see the camera to its first picture
  latest = null; // last statistics entry
  rates = null;
  lastFrameAt = null; // performance.now() of the last new picture
  quality = "auto"; // what the viewer wants: "auto", "main", "sub" or "keyframes"
  refusal = ""; // why the last wish was not granted
  showing = null; // what the server gives: {showing: "main", "sub" or "keyframes", reason}
  hasSound = false;
  iceServers = []; // to be set: what the next session may ask for its address

  #signaling;
  #video;
  #still;
  #show;
  #peer = null;
  #offers = new Offers();
  #backoff = new Backoff();
  #retry = 0;
  #connectTimer = 0;
  #disconnectedTimer = 0;
  #wantedAt = 0;
  #waitsSince = 0; // for a picture: connected, or given something else
  #sawPicture = false; // in this session
  #liveSince = null;
  #frameMs = FRAME_MS;
  #keyframeMs = KEYFRAME_MS;

  constructor(signaling, video, still, show) {
    this.#signaling = signaling;
    this.#video = video;
    this.#still = still;
    this.#show = show;
    signaling.addEventListener("open", () => this.#signalingIsBack());
    signaling.addEventListener("session-closed", ({ detail }) => {
      if (detail.session !== this.session) return;
      this.#again(detail.reason, this.#sawPicture ? 0 : this.#backoff.next());
    });
    signaling.addEventListener("session-showing", ({ detail }) => {
      if (detail.session === this.session) this.#isGiven(detail);
    });
    setInterval(() => this.#poll(), POLL_MS);
  }

  /** The longest time between two pictures that is as it should be. */
  get pictureMs() {
    return this.showing?.showing === "keyframes" ? this.#keyframeMs : this.#frameMs;
  }

  /** Shows another camera. */
  play(camera) {
    this.#drop();
    this.#still.hidden = true;
    this.#video.srcObject = null;
    this.camera = camera;
    this.reconnects = 0;
    this.firstFrameMs = null;
    this.lastFrameAt = null;
    this.problem = "";
    this.quality = "auto";
    this.refusal = "";
    this.hasSound = false;
    this.#liveSince = null;
    this.#frameMs = FRAME_MS;
    this.#keyframeMs = KEYFRAME_MS;
    this.#wantedAt = performance.now();
    this.#backoff.reset();
    this.#start();
  }

  /** Somebody may soon want to see a camera. */
  prepare() {
    this.#offers.prepare(this.iceServers);
  }

  /** Asks for another quality; the wish holds for this camera over all its sessions. */
  select(quality) {
    this.quality = quality;
    this.#askForQuality();
    this.#show();
  }

  /** Takes in what the server says of the camera; a live one without new pictures means a stuck session. */
  cameraIs(state, fps, gopS) {
    const now = performance.now();
    if (state !== "live") {
      this.#liveSince = null; // and its frame rate is that of a camera that has stopped
    } else {
      this.#liveSince ??= now;
      if (fps) this.#frameMs = 1000 / fps;
      if (gopS) this.#keyframeMs = Math.max(gopS * 1000, KEYFRAME_MS);
    }
    if (this.phase !== "playing" || this.#liveSince === null || document.hidden) return;
    const patience = Math.max(STALLED_MS, 4 * this.pictureMs);
    const since = Math.max(this.#liveSince, this.#waitsSince, this.lastFrameAt ?? 0);
    if (now - since > patience) this.#again("no new picture from a live camera", this.#backoff.next());
  }

  async #start() {
    const camera = this.camera;
    this.phase = "connecting";
    const offer = this.#offers.take(this.iceServers);
    const { peer, candidates } = offer;
    this.#peer = peer;
    const stream = new MediaStream();
    peer.ontrack = ({ track }) => {
      stream.addTrack(track);
      if (track.kind === "video") this.#attach(peer, stream);
    };
    peer.onconnectionstatechange = () => this.#connectionChanged(peer);
    this.#connectTimer = setTimeout(() => {
      this.#again("no connection to the media port", this.#backoff.next());
    }, CONNECT_MS);
    this.#show();
    try {
      await offer.ready;
      if (peer !== this.#peer) return;
      const sdp = peer.localDescription.sdp;
      const answer = await this.#signaling.request({ type: "offer", camera, sdp });
      if (peer !== this.#peer) {
        this.#signaling.tell({ type: "close", session: answer.session });
        return;
      }
      this.session = answer.session;
      if (this.quality !== "auto") this.#askForQuality();
      await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      if (peer !== this.#peer) return;
      // With ICE lite the server only answers checks, and needs no candidate.
      if (/^a=ice-lite\r?$/m.test(answer.sdp)) peer.onicecandidate = null;
      else this.#trickle(peer, answer.session, candidates);
    } catch (error) {
      if (peer === this.#peer) this.#again(error.message, this.#backoff.next());
    }
  }

  /** Tells the server where it may find this browser: a TURN server lets only those in that it was told of. */
  #trickle(peer, session, candidates) {
    const tell = (candidate) => this.#signaling.tell({ type: "candidate", session, candidate });
    candidates.forEach(tell);
    peer.onicecandidate = ({ candidate }) => {
      if (candidate && peer === this.#peer) tell(candidate);
    };
  }

  async #askForQuality() {
    const { session, quality } = this;
    this.refusal = "";
    if (!session) return; // the next session is asked
    let refusal = "";
    try {
      await this.#signaling.request({ type: "select", session, quality });
    } catch (error) {
      refusal = error.message;
    }
    if (session !== this.session || quality !== this.quality) return;
    this.refusal = refusal;
    this.#show();
  }

  #isGiven({ showing, reason }) {
    this.showing = { showing, reason };
    this.#waitsSince = performance.now();
    this.#show();
  }

  #attach(peer, stream) {
    this.#video.srcObject = stream;
    // Refused only while a browser forbids even muted playing; the element then waits for a click.
    this.#video.play().catch(() => {});
    const shown = () => {
      if (peer !== this.#peer) return;
      this.lastFrameAt = performance.now();
      if (!this.#sawPicture) first();
      this.#video.requestVideoFrameCallback?.(shown);
    };
    const first = () => {
      this.#sawPicture = true;
      this.firstFrameMs ??= performance.now() - this.#wantedAt;
      this.phase = "playing";
      this.problem = "";
      this.#still.hidden = true;
      this.#backoff.reset();
      this.#show();
    };
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(shown);
    else this.#video.addEventListener("loadeddata", shown, { once: true });
  }

  #connectionChanged(peer) {
    if (peer !== this.#peer) return;
    clearTimeout(this.#disconnectedTimer);
    switch (peer.connectionState) {
      case "connected":
        clearTimeout(this.#connectTimer);
        this.#waitsSince = performance.now();
        this.phase = "playing";
        break;
      case "disconnected":
        this.#disconnectedTimer = setTimeout(() => {
          this.#again("the media connection was lost", this.#backoff.next());
        }, DISCONNECTED_MS);
        break;
      case "failed":
        this.#again("the media connection failed", this.#backoff.next());
        return;
    }
    this.#show();
  }

  /** Gives the session up and makes a new one after `delayMs`. */
  #again(problem, delayMs) {
    this.#keepStill();
    this.#drop();
    this.problem = problem;
    this.phase = "waiting";
    this.reconnects += 1;
    this.#retry = setTimeout(() => this.#start(), delayMs);
    this.#show();
  }

  #drop() {
    clearTimeout(this.#retry);
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#disconnectedTimer);
    if (this.session) this.#signaling.tell({ type: "close", session: this.session });
    this.session = null;
    this.showing = null;
    this.#sawPicture = false;
    this.latest = null;
    this.rates = null;
    this.#peer?.close();
    this.#peer = null;
  }

  /** Keeps the last picture on screen while the next session starts. */
  #keepStill() {
    const { videoWidth, videoHeight } = this.#video;
    if (!videoWidth || this.lastFrameAt === null || !this.#still.hidden) return;
    this.#still.width = videoWidth;
    this.#still.height = videoHeight;
    this.#still.getContext("2d").drawImage(this.#video, 0, 0);
    this.#still.hidden = false;
  }

  async #signalingIsBack() {
    if (this.phase === "waiting") {
      clearTimeout(this.#retry);
      this.#start();
      return;
    }
    const session = this.session;
    if (!session) return;
    try {
      const attached = await this.#signaling.request({ type: "attach", session });
      if (session !== this.session) return;
      if (attached.showing) this.#isGiven(attached);
      if (this.refusal) this.#askForQuality();
    } catch (error) {
      if (session !== this.session) return;
      // 404: the server is sure that the session is over. Else it is only not ready yet.
      if (error.status === 404) this.#again("the session is over", 0);
      else if (error.status) setTimeout(() => this.#reattach(session), POLL_MS);
    }
  }

  #reattach(session) {
    if (session === this.session && this.#signaling.isOpen) this.#signalingIsBack();
  }

  async #poll() {
    const peer = this.#peer;
    if (peer) {
      const now = received(await peer.getStats());
      if (peer !== this.#peer) return;
      if (now) {
        const before = this.latest;
        if (before) this.rates = rates(before, now);
        if (now.frames > (before?.frames ?? 0)) this.lastFrameAt = performance.now();
        this.hasSound ||= now.audioPackets > 0;
        this.latest = now;
      }
    }
    this.#show();
  }
}
