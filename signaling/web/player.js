// One camera in one video element: a WebRTC session that is made anew whenever it dies.

import { Backoff } from "./backoff.js";
import { Offers } from "./offer.js";
import { Session } from "./session.js";
import { rates, received } from "./statistics.js";

const POLL_MS = 1000;
const DISCONNECTED_MS = 2000; // ICE often recovers from a short loss by itself
const CONNECT_MS = 10_000;
const STALLED_MS = 5000; // by then the server has said so when it is the camera that is silent
const FRAME_MS = 40; // until the camera's frame rate is known
const KEYFRAME_MS = 10_000; // until the camera's GOP is known

/**
 * `show()` is called whenever something to be seen has changed. Public fields are for reading:
 * `phase` is "idle", "connecting", "playing", "waiting" (for the next attempt) or "ended" (the server wants none).
 */
export class Player {
  phase = "idle";
  camera = null;
  problem = ""; // why the last attempt failed
  reconnects = 0;
  moves = 0; // from one media worker to another, without a gap
  firstFrameMs = null; // from the wish to see the camera to its first picture
  latest = null; // last statistics entry
  rates = null;
  lastFrameAt = null; // performance.now() of the last new picture
  quality = "auto"; // what the viewer wants: "auto", "main", "sub" or "keyframes"
  refusal = ""; // why the last wish was not granted
  hasSound = false;
  iceServers = []; // to be set: what the next session may ask for its address

  #signaling;
  #video;
  #still;
  #show;
  #now = null; // the session that plays
  #next = null; // the one that shall play instead, while it connects
  #offers = new Offers();
  #backoff = new Backoff();
  #moveBackoff = new Backoff();
  #retry = 0;
  #moveRetry = 0;
  #connectTimer = 0;
  #disconnectedTimer = 0;
  #wantedAt = 0;
  #waitsSince = 0; // for a picture: connected, or given something else
  #wasGone = false; // the camera, from the server's list, since the session was ended
  #liveSince = null;
  #frameMs = FRAME_MS;
  #keyframeMs = KEYFRAME_MS;

  constructor(signaling, video, still, show) {
    this.#signaling = signaling;
    this.#video = video;
    this.#still = still;
    this.#show = show;
    signaling.addEventListener("open", () => this.#signalingIsBack());
    signaling.addEventListener("session-closed", ({ detail }) => this.#isClosed(detail));
    signaling.addEventListener("session-showing", ({ detail }) => this.#isGiven(detail.session, detail));
    signaling.addEventListener("session-move", ({ detail }) => {
      if (detail.session === this.session) this.#move();
    });
    setInterval(() => this.#poll(), POLL_MS);
  }

  /** What the server calls the session that plays. */
  get session() {
    return this.#now?.id ?? null;
  }

  /** What the server gives: {showing: "main", "sub" or "keyframes", reason}. */
  get showing() {
    return this.#now?.showing ?? null;
  }

  /** The longest time between two pictures that is as it should be. */
  get pictureMs() {
    return this.showing?.showing === "keyframes" ? this.#keyframeMs : this.#frameMs;
  }

  /** Shows another camera. */
  play(camera) {
    this.#drop();
    this.#clear();
    this.camera = camera;
    this.reconnects = 0;
    this.moves = 0;
    this.firstFrameMs = null;
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
    if (state !== "unknown" && this.phase === "ended" && this.#wasGone) this.play(this.camera);
    if (this.phase !== "playing" || this.#liveSince === null || document.hidden) return;
    const patience = Math.max(STALLED_MS, 4 * this.pictureMs);
    const since = Math.max(this.#liveSince, this.#waitsSince, this.lastFrameAt ?? 0);
    if (now - since > patience) this.#again("no new picture from a live camera", this.#backoff.next());
  }

  /** The server lists the camera no more. */
  cameraIsGone() {
    if (this.phase === "ended") this.#wasGone = true;
  }

  async #start() {
    this.phase = "connecting";
    const session = new Session(
      this.#signaling,
      this.#offers.take(this.iceServers),
      () => this.#attach(session, false),
      () => this.#connectionChanged(session),
    );
    this.#now = session;
    this.#connectTimer = setTimeout(() => {
      this.#again("no connection to the media port", this.#backoff.next());
    }, CONNECT_MS);
    this.#show();
    try {
      await session.open(this.camera);
      if (session === this.#now && this.quality !== "auto") this.#askForQuality();
    } catch (error) {
      if (session !== this.#now) return;
      const waitMs = error.retryAfterMs ?? 0;
      const hint = waitMs > 1000 ? `; trying again in ${Math.round(waitMs / 1000)} s` : "";
      // Not all pages at once: there was no room for all of them.
      this.#again(error.message + hint, Math.max(this.#backoff.next(), waitMs * (1 + Math.random() / 4)));
    }
  }

  /** Goes to another media worker: the session that plays is left only when the new one has a picture. */
  async #move() {
    if (this.#next !== null) return;
    clearTimeout(this.#moveRetry);
    const before = this.#now;
    const session = new Session(
      this.#signaling,
      this.#offers.take(this.iceServers),
      () => {},
      () => this.#connectionChanged(session),
    );
    this.#next = session;
    try {
      await session.open(this.camera, before.id);
      // Refused: the wish was refused before, too.
      if (this.quality !== "auto") await session.select(this.quality).catch(() => {});
      await session.picture(Math.max(CONNECT_MS, 2 * this.pictureMs));
    } catch (error) {
      session.close();
      if (session !== this.#next) return;
      this.#next = null;
      // What plays goes on playing.
      const waitMs = Math.max(this.#moveBackoff.next(), error.retryAfterMs ?? 0);
      this.#moveRetry = setTimeout(() => {
        if (before === this.#now) this.#move();
      }, waitMs);
      return;
    }
    if (session !== this.#next || before !== this.#now) {
      session.close();
      return;
    }
    this.#next = null;
    this.#now = session;
    this.moves += 1;
    this.latest = null;
    this.rates = null;
    this.#moveBackoff.reset();
    clearTimeout(this.#disconnectedTimer);
    clearTimeout(this.#connectTimer);
    this.#attach(session, true);
    before.close();
    this.#connectionChanged(session);
  }

  async #askForQuality() {
    const session = this.#now;
    const { quality } = this;
    this.refusal = "";
    if (!session?.id) return; // asked for when the server has answered
    let refusal = "";
    try {
      await session.select(quality);
    } catch (error) {
      refusal = error.message;
    }
    if (session !== this.#now || quality !== this.quality) return;
    this.refusal = refusal;
    this.#show();
  }

  #isGiven(id, { showing, reason }) {
    const session = [this.#now, this.#next].find((each) => each?.id === id);
    if (!session) return;
    session.showing = { showing, reason };
    if (session === this.#now) this.#waitsSince = performance.now();
    this.#show();
  }

  #isClosed({ session, reason, final }) {
    if (session === this.#next?.id) this.#next.close();
    if (session !== this.session) return;
    if (final) this.#end(reason);
    else this.#again(reason, this.#now.sawPicture ? 0 : this.#backoff.next());
  }

  /** Shows a session; `over` what is shown now: then the element keeps its last picture until the first new one. */
  #attach(session, over) {
    const shown = this.#video.srcObject;
    if (over && shown) {
      // Another stream would make the element black for a moment, other tracks in this one do not.
      const before = shown.getTracks();
      session.stream.getTracks().forEach((track) => shown.addTrack(track));
      before.forEach((track) => shown.removeTrack(track));
    } else {
      this.#video.srcObject = session.stream;
    }
    // Refused only while a browser forbids even muted playing; the element then waits for a click.
    this.#video.play().catch(() => {});
    const shownPicture = () => {
      if (session !== this.#now) return;
      this.lastFrameAt = performance.now();
      if (!session.sawPicture) first();
      this.#video.requestVideoFrameCallback?.(shownPicture);
    };
    const first = () => {
      session.sawPicture = true;
      this.firstFrameMs ??= performance.now() - this.#wantedAt;
      this.phase = "playing";
      this.problem = "";
      this.#still.hidden = true;
      this.#backoff.reset();
      this.#show();
    };
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(shownPicture);
    else this.#video.addEventListener("loadeddata", shownPicture, { once: true });
  }

  #connectionChanged(session) {
    if (session !== this.#now) return;
    clearTimeout(this.#disconnectedTimer);
    switch (session.peer.connectionState) {
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

  /** The server wants no other session: until somebody picks the camera, or it leaves the list and comes back. */
  #end(problem) {
    this.#drop();
    this.#clear();
    this.problem = problem;
    this.phase = "ended";
    this.#wasGone = false;
    this.#show();
  }

  #drop() {
    clearTimeout(this.#retry);
    clearTimeout(this.#moveRetry);
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#disconnectedTimer);
    this.latest = null;
    this.rates = null;
    this.#now?.close();
    this.#next?.close();
    this.#now = null;
    this.#next = null;
  }

  /** Takes the picture away. */
  #clear() {
    this.#still.hidden = true;
    this.#video.srcObject = null;
    this.lastFrameAt = null;
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
    const session = this.#now;
    if (!session?.id) return;
    try {
      const attached = await this.#signaling.request({ type: "attach", session: session.id });
      if (session !== this.#now) return;
      if (attached.showing) this.#isGiven(session.id, attached);
      if (this.refusal) this.#askForQuality();
    } catch (error) {
      if (session !== this.#now) return;
      // 404: the server is sure that the session is over. Else it is only not ready yet.
      if (error.status === 404) this.#again("the session is over", 0);
      else if (error.status) setTimeout(() => this.#reattach(session), POLL_MS);
    }
  }

  #reattach(session) {
    if (session === this.#now && this.#signaling.isOpen) this.#signalingIsBack();
  }

  async #poll() {
    const session = this.#now;
    if (session) {
      const now = received(await session.peer.getStats());
      if (session !== this.#now) return;
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
