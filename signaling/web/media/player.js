// One camera in one video element: a WebRTC session that is made anew whenever it dies.

import { ageText } from "../shared/format.js";
import { t } from "../shared/texts.js";
import { Backoff } from "./backoff.js";
import { CaptureClock, msBetween } from "./capture_clock.js";
import { journal } from "./journal.js";
import { Session } from "./session.js";
import { rates, received } from "./statistics.js";

const POLL_MS = 1000;
const DISCONNECTED_MS = 2000; // ICE often recovers from a short loss by itself
const CONNECT_MS = 10_000;
const STALLED_MS = 5000; // by then the server has said so when it is the camera that is silent
const FRAME_MS = 40; // until the camera's frame rate is known
const KEYFRAME_MS = 10_000; // until the camera's GOP is known
const SAMPLES = 180;
// A join, or the answer to a keyframe request, has pictures of the past with timestamps within one frame interval:
// those tell nothing of their age, and the browser takes some of the following for as old as them.
const JOIN_MS = 100; // or one frame interval
const JOIN_STEP_MS = 10; // between two of those that are shown, at most
const BREAK_MS = 1000; // whoever had no picture for so long may have asked for a keyframe
const SETTLED_MS = 1500;

let players = 0;

/**
 * Says by the event `change` that something to be seen has changed. Public fields are for reading.
 *
 * `phase` is "idle", "connecting", "playing", "waiting" (for the next attempt), "released" (until `resume`) or
 * "ended" (the server wants none).
 */
export class Player extends EventTarget {
  phase = "idle";
  camera = null;
  problem = ""; // why the last attempt failed
  problemStatus = 0; // as in HTTP, where the server refused
  problemWaitMs = 0; // and for how long it does not want to be asked again
  retryAt = 0; // performance.now() of the next attempt, while `phase` is "waiting"
  reconnects = 0;
  moves = 0; // from one media worker to another, without a gap
  firstFrameMs = null; // from the wish to see the camera to its first picture
  latest = null; // last statistics entry
  rates = null;
  samples = []; // one for each of the last seconds, for plots
  lastFrameAt = null; // performance.now() of the last new picture
  quality = "auto"; // what is asked for: "auto", "main", "sub" or "keyframes"
  refusal = ""; // why the last wish was not granted
  hasSound = false;

  id = ++players; // for what is kept of it

  #page;
  #video;
  #still;
  #urgent;
  #now = null; // the session that plays
  #next = null; // the one that shall play instead, while it connects
  #backoff = new Backoff();
  #moveBackoff = new Backoff();
  #attempt = 0; // the one that is under way; a later one, or the end, takes its place
  #retry = 0;
  #moveRetry = 0;
  #connectTimer = 0;
  #disconnectedTimer = 0;
  #poll;
  #listening = new AbortController();
  #lastFrameUtcMs = 0; // by Date: it goes on while a computer sleeps
  #endTurn = () => {};
  #wantedAt = 0;
  #waitsSince = 0; // for a picture: connected, or given something else
  #wasGone = false; // the camera, from the server's list, since the session was ended
  #liveSince = null;
  #frameMs = FRAME_MS;
  #keyframeMs = KEYFRAME_MS;
  #wasKeyframe = false; // the last picture, as nothing else was given
  #capture = new CaptureClock();
  #notedAt = -Infinity;
  #announced = false; // capture times of single pictures are known
  #run = null; // pictures shown without a break: {width, first, last}, RTP timestamps
  #delayMs = null; // from capture to screen, of the last picture

  /**
   * `page` is what all players share: {signaling, serverClock, offers, turns, rendering, iceServers}. `still` is a
   * canvas for the last picture of a session that is over; `urgent()` tells whether this one goes before others.
   */
  constructor(page, video, still, urgent = () => false) {
    super();
    this.#page = page;
    this.#video = video;
    this.#still = still;
    this.#urgent = urgent;
    const listen = (kind, heard) =>
      page.signaling.addEventListener(kind, heard, { signal: this.#listening.signal });
    listen("open", () => this.#signalingIsBack());
    listen("session-closed", ({ detail }) => this.#isClosed(detail));
    listen("session-showing", ({ detail }) => this.#isGiven(detail.session, detail));
    listen("session-move", ({ detail }) => {
      if (detail.session === this.session) this.#move();
    });
    this.#poll = setInterval(() => this.#look(), POLL_MS);
    // A live picture is never paused for good: by a context menu, a power saver, or a move in the document.
    const goOn = () => {
      if (video.paused && video.srcObject) video.play().catch(() => {});
    };
    const { signal } = this.#listening;
    video.addEventListener("pause", goOn, { signal });
    document.addEventListener("pointerdown", goOn, { signal });
  }

  /** What the server calls the session that plays. */
  get session() {
    return this.#now?.id ?? null;
  }

  /** The RTCPeerConnection that plays, or null. */
  get peer() {
    return this.#now?.peer ?? null;
  }

  /** Whether the session that plays has shown one. */
  get hasPicture() {
    return this.#now?.sawPicture ?? false;
  }

  /** What the server gives: {showing: "main", "sub" or "keyframes", reason}. */
  get showing() {
    return this.#now?.showing ?? null;
  }

  /** The longest time for which the last picture may stand as it should: by what was given when it came. */
  get pictureMs() {
    return this.#wasKeyframe ? this.#keyframeMs : this.#frameMs;
  }

  /** The longest time until the next picture that is as it should be. */
  get #nextMs() {
    return this.showing?.showing === "keyframes" ? this.#keyframeMs : this.#frameMs;
  }

  /** How long ago a new picture came, in ms, or null before the first one. */
  get stillMs() {
    if (this.lastFrameAt === null) return null;
    return Math.max(performance.now() - this.lastFrameAt, Date.now() - this.#lastFrameUtcMs);
  }

  /** For how much longer a picture may seem to stand because new ones are only counted now and then, in ms. */
  get countedMs() {
    return this.#isTold ? 0 : 2 * POLL_MS;
  }

  /** The browser tells of each picture that is shown. */
  get #isTold() {
    return Boolean(this.#video.requestVideoFrameCallback) && !this.#page.rendering.stands;
  }

  /**
   * From the capture of the picture on screen by the camera until now, in ms; null while unknown.
   *
   * While pictures come it is the delay with which the last one was shown; when they stop it grows.
   */
  get ageMs() {
    if (this.#delayMs === null || this.lastFrameAt === null) return null;
    const stillMs = this.stillMs;
    return stillMs < 2 * this.pictureMs + 100 ? this.#delayMs : this.#delayMs + stillMs;
  }

  /** Shows another camera. */
  play(camera, quality = "auto") {
    this.#drop();
    this.#clear();
    this.camera = camera;
    this.reconnects = 0;
    this.moves = 0;
    this.quality = quality;
    this.refusal = "";
    this.hasSound = false;
    this.samples = [];
    this.#liveSince = null;
    this.#frameMs = FRAME_MS;
    this.#keyframeMs = KEYFRAME_MS;
    this.#backoff.reset();
    this.#begin();
  }

  /** Gives the session up because nobody looks; the last picture stays as a still. */
  release() {
    if (this.phase === "released" || this.phase === "idle" || this.phase === "ended") return;
    this.#keepStill();
    this.#drop();
    this.#video.srcObject = null;
    this.phase = "released";
    this.#changed();
  }

  /** Somebody looks again. */
  resume() {
    if (this.phase !== "released") return;
    this.#backoff.reset();
    this.#begin();
  }

  /** Stops for good. */
  dispose() {
    clearInterval(this.#poll);
    this.#listening.abort();
    this.#drop();
    this.#clear();
    this.#page.recorder?.forget(this.id);
    this.phase = "idle";
  }

  /** Asks for another quality; the wish holds for this camera over all its sessions. */
  select(quality) {
    if (quality === this.quality) return;
    this.quality = quality;
    this.#askForQuality();
    this.#changed();
  }

  /** Takes in what the server says of the camera; a live one without new pictures means a stuck session. */
  cameraIs(state, fps, gopS) {
    const now = performance.now();
    if (state !== "live") {
      this.#liveSince = null; // and its frame rate is that of a camera that has stopped
    } else {
      this.#liveSince ??= now;
      if (fps) this.#frameMs = 1000 / fps;
      if (gopS) this.#keyframeMs = gopS * 1000;
    }
    if (state !== "unknown" && this.phase === "ended" && this.#wasGone) this.play(this.camera, this.quality);
    const unseen = this.#page.rendering.stands && document.pictureInPictureElement !== this.#video;
    if (this.phase !== "playing" || this.#liveSince === null || unseen) return;
    const patience = Math.max(STALLED_MS, 4 * this.#nextMs);
    const since = Math.max(this.#liveSince, this.#waitsSince, this.lastFrameAt ?? 0);
    if (now - since > patience) this.#again(t("media.stuck"), this.#backoff.next());
  }

  /** The server lists the camera no more. */
  cameraIsGone() {
    if (this.phase === "ended") this.#wasGone = true;
  }

  /** Tries again now instead of when its time has come. */
  hurry() {
    if (this.phase !== "waiting") return;
    clearTimeout(this.#retry);
    this.#backoff.reset();
    this.#start();
  }

  #begin() {
    this.firstFrameMs = null;
    this.problem = "";
    this.problemStatus = 0;
    this.#wantedAt = performance.now();
    this.#start();
  }

  async #start() {
    this.phase = "connecting";
    this.#changed();
    const attempt = (this.#attempt += 1);
    try {
      await this.#page.signaling.opened();
      const endTurn = await this.#page.turns.take(this.#urgent);
      if (attempt !== this.#attempt) {
        endTurn();
        return;
      }
      this.#endTurn = endTurn;
      await this.#open();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      const waitMs = error.retryAfterMs ?? 0;
      // Not all pages at once: there was no room for all of them.
      const delayMs = Math.max(this.#backoff.next(), waitMs * (1 + Math.random() / 4));
      this.#again(error.message, delayMs, error.status ?? 0, waitMs);
    }
  }

  async #open() {
    const session = new Session(
      this.#page.signaling,
      this.#takeOffer(),
      () => this.#attach(session, false),
      () => this.#connectionChanged(session),
    );
    this.#now = session;
    this.#connectTimer = setTimeout(() => {
      this.#again(t("media.blocked"), this.#backoff.next());
    }, CONNECT_MS);
    const { quality } = this;
    await session.open(this.camera, quality);
    if (session === this.#now && quality !== this.quality) this.#askForQuality();
  }

  #takeOffer() {
    const offer = this.#page.offers.take(this.#page.iceServers);
    if (offer.recording !== null) this.#page.recorder.assign(offer.recording, this.id);
    return offer;
  }

  /** Goes to another media worker: the session that plays is left only when the new one has a picture. */
  async #move() {
    if (this.#next !== null) return;
    clearTimeout(this.#moveRetry);
    const before = this.#now;
    const { quality } = this;
    let session = null;
    try {
      session = new Session(
        this.#page.signaling,
        this.#takeOffer(),
        () => {},
        () => this.#connectionChanged(session),
      );
      this.#next = session;
      await session.open(this.camera, quality, before.id);
      // Where nothing is to be seen now, nothing is to be lost.
      if (before.sawPicture) await session.picture(Math.max(CONNECT_MS, 2 * this.#nextMs));
    } catch (error) {
      session?.close();
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
    this.#note("info", t("media.moved"));
    this.#connectionChanged(session);
    if (quality !== this.quality) this.#askForQuality();
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
    this.#changed();
  }

  #isGiven(id, { showing, reason }) {
    const session = [this.#now, this.#next].find((each) => each?.id === id);
    if (!session) return;
    session.showing = { showing, reason };
    if (session === this.#now) {
      this.#waitsSince = performance.now();
      this.#note("info", t("media.given", { stream: t(`panel.given.${showing}`), reason }));
    }
    this.#changed();
  }

  #isClosed({ session, reason, final }) {
    if (session === this.#next?.id) this.#next.close();
    if (session !== this.session) return;
    if (final) this.#end(reason);
    else this.#again(reason, this.#now.sawPicture ? 0 : this.#backoff.next());
  }

  /** Shows a session; `over` what is shown now: then the element keeps its last picture until the first new one. */
  #attach(session, over) {
    this.#capture = new CaptureClock();
    this.#notedAt = -Infinity;
    this.#run = null;
    const shown = this.#video.srcObject;
    if (over && shown) {
      // Another stream would make the element black for a moment, other tracks in this one do not.
      const before = shown.getTracks();
      session.stream.getTracks().forEach((track) => shown.addTrack(track));
      before.forEach((track) => shown.removeTrack(track));
    } else {
      this.#video.srcObject = session.stream;
    }
    // Refused only while a browser forbids even muted playing; then a click anywhere helps.
    this.#video.play().catch(() => {});
    const picture = (now, frame) => {
      if (session !== this.#now) return;
      this.#came();
      if (!session.sawPicture) this.#firstPicture(session);
      if (frame) this.#measure(session, frame);
      this.#video.requestVideoFrameCallback?.(picture);
    };
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(picture);
    else this.#video.addEventListener("loadeddata", picture, { once: true });
  }

  #came() {
    this.lastFrameAt = performance.now();
    this.#lastFrameUtcMs = Date.now();
    this.#wasKeyframe = this.showing?.showing === "keyframes";
  }

  #firstPicture(session) {
    session.sawPicture = true;
    this.firstFrameMs ??= performance.now() - this.#wantedAt;
    this.phase = "playing";
    this.problem = "";
    this.problemStatus = 0;
    this.#still.hidden = true;
    this.#backoff.reset();
    this.#endTurn();
    this.#note("info", t("media.first", { time: ageText(performance.now() - this.#wantedAt) }));
    this.#changed();
  }

  /** Takes in a picture that is shown, for its age. */
  #measure(session, { rtpTimestamp, expectedDisplayTime, width }) {
    const run = this.#run;
    const stepMs = run && msBetween(run.last, rtpTimestamp);
    const isNew =
      width !== run?.width || stepMs < JOIN_STEP_MS || stepMs > Math.max(BREAK_MS, 2 * this.pictureMs);
    this.#run = { width, first: isNew ? rtpTimestamp : run.first, last: rtpTimestamp };
    const runMs = msBetween(this.#run.first, rtpTimestamp);
    if (runMs > SETTLED_MS && this.lastFrameAt - this.#notedAt >= POLL_MS) {
      this.#notedAt = this.lastFrameAt;
      this.#capture.note(session.video.getSynchronizationSources());
    }
    const captureMs = this.#capture.utcMs(rtpTimestamp);
    const shownMs = this.#page.serverClock.utcMs(expectedDisplayTime);
    const known = runMs > Math.max(JOIN_MS, this.#frameMs) && captureMs !== null && shownMs !== null;
    this.#announced ||= known;
    if (this.#announced) this.#delayMs = known ? shownMs - captureMs : null;
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
          this.#again(t("media.lost"), this.#backoff.next());
        }, DISCONNECTED_MS);
        break;
      case "failed":
        this.#again(t("media.failed"), this.#backoff.next());
        return;
    }
    this.#changed();
  }

  /** Gives the session up and makes a new one after `delayMs`. */
  #again(problem, delayMs, status = 0, waitMs = 0) {
    if (this.#now?.sawPicture) this.#wantedAt = performance.now();
    this.#keepStill();
    this.#drop();
    if (problem !== this.problem) this.#note("warning", problem);
    this.problem = problem;
    this.problemStatus = status;
    this.problemWaitMs = waitMs;
    this.phase = "waiting";
    this.retryAt = performance.now() + delayMs;
    this.reconnects += 1;
    this.#retry = setTimeout(() => this.#start(), delayMs);
    this.#changed();
  }

  /** The server wants no other session: until somebody picks the camera, or it leaves the list and comes back. */
  #end(problem) {
    this.#drop();
    this.#clear();
    this.problem = problem;
    this.phase = "ended";
    this.#wasGone = false;
    this.#note("warning", problem);
    this.#changed();
  }

  #drop() {
    clearTimeout(this.#retry);
    this.#attempt += 1;
    clearTimeout(this.#moveRetry);
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#disconnectedTimer);
    this.#endTurn();
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
    this.#delayMs = null;
  }

  /** Keeps the last picture on screen while there is no session. */
  #keepStill() {
    const { videoWidth, videoHeight } = this.#video;
    if (!videoWidth || this.lastFrameAt === null || !this.#still.hidden) return;
    this.#still.width = videoWidth;
    this.#still.height = videoHeight;
    this.#still.getContext("2d").drawImage(this.#video, 0, 0);
    this.#still.hidden = false;
  }

  #signalingIsBack() {
    if (this.phase === "waiting") {
      this.hurry();
      return;
    }
    for (const session of [this.#now, this.#next]) if (session?.id) this.#attachAgain(session);
  }

  async #attachAgain(session) {
    try {
      const attached = await this.#page.signaling.request({ type: "attach", session: session.id });
      if (session !== this.#now) return;
      if (attached.showing) this.#isGiven(session.id, attached);
      if (this.refusal) this.#askForQuality();
    } catch (error) {
      if (session !== this.#now) return;
      // 404: the server is sure that the session is over. Else it is only not ready yet.
      if (error.status === 404) this.#again(t("media.over"), 0);
      else if (error.status) setTimeout(() => this.#reattach(session), POLL_MS);
    }
  }

  #reattach(session) {
    if (session === this.#now && this.#page.signaling.isOpen) this.#attachAgain(session);
  }

  async #look() {
    const session = this.#now;
    if (session) {
      const now = received(await session.peer.getStats());
      if (session !== this.#now) return;
      if (now) this.#take(now);
    }
    this.#sample();
    this.#changed();
  }

  #take(now) {
    const before = this.latest;
    if (before) this.rates = rates(before, now);
    // A decoded picture is not a shown one; but where nothing is drawn, and in some browsers, nobody tells of those.
    if (!this.#isTold && !this.#video.paused && now.frames > (before?.frames ?? 0)) this.#came();
    this.hasSound ||= now.audioPackets > 0;
    this.latest = now;
    if (!this.#announced && now.playoutUtcMs !== null) {
      // A browser that does not announce capture times: sender reports tell that of the picture that plays.
      const utcMs = this.#page.serverClock.utcMs(performance.now());
      if (utcMs !== null) this.#delayMs = utcMs - now.playoutUtcMs;
    }
  }

  #sample() {
    const { rates: now, latest } = this;
    this.samples.push({
      atMs: performance.now(),
      fps: now?.fps ?? null,
      bitrate: now?.bitrate ?? null,
      lossShare: now?.lossShare ?? null,
      rttMs: latest?.rttMs ?? null,
      bufferMs: now?.bufferMs ?? null,
      ageMs: this.ageMs,
      dropped: now?.dropped ?? null,
    });
    if (this.samples.length > SAMPLES) this.samples.shift();
  }

  #note(level, text) {
    journal.add({ level, camera: this.camera, text });
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
