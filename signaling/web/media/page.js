// What all players of a page share, and what the page knows of the server: asked once a second, told over the socket.

import { fetchCameras, fetchIceServers } from "../shared/api.js";
import { t } from "../shared/texts.js";
import { journal } from "./journal.js";
import { Offers } from "./offer.js";
import { Rendering } from "./rendering.js";
import { ServerClock } from "./server_clock.js";
import { Signaling } from "./signaling.js";
import { Turns } from "./turns.js";

const POLL_MS = 1000;
const NEWS_MS = 100; // after something happened to a camera; more may follow
const LEAST_MS = 500; // from one question to the next, whatever happens
const AT_ONCE = 6; // sessions that begin: more of them choke the browser

/**
 * Events: `listed`, with the cameras as detail; `unlisted`, the server does not answer; `stranger`, it wants to
 * know who this is. Public fields are for reading.
 */
export class LivePage extends EventTarget {
  recorder; // of what is received, or null
  signaling = new Signaling();
  offers;
  turns = new Turns(AT_ONCE);
  rendering = new Rendering();
  serverClock = new ServerClock(this.signaling);
  iceServers = [];
  cameras = [];
  serverAnswers = null; // null until it is known
  isStranger = false; // it answers, but wants to know who this is

  #iceServersKnown = false; // for certain: a server that restarts may have others
  #polling = 0; // the timer
  #pollAt = 0;
  #polledAt = -Infinity;
  #asking = false;

  constructor(recorder = null) {
    super();
    this.recorder = recorder;
    this.offers = new Offers(recorder);
  }

  start() {
    this.offers.prepare(this.iceServers);
    this.signaling.addEventListener("away", () => {
      this.#iceServersKnown = false;
    });
    this.signaling.addEventListener("news", ({ detail }) => {
      if (detail.kind === "camera") this.#pollIn(NEWS_MS);
    });
    for (const kind of ["online", "visibilitychange"]) {
      addEventListener(kind, () => {
        this.signaling.hurry();
        this.#pollIn(0);
      });
    }
    this.signaling.connect();
    this.#poll();
  }

  /** Asks the server in `delayMs`, or sooner if that is planned. */
  #pollIn(delayMs) {
    const now = performance.now();
    const at = Math.max(now + delayMs, this.#polledAt + LEAST_MS);
    if (this.#asking || (this.#polling !== 0 && this.#pollAt <= at)) return; // it is asked again after the answer
    clearTimeout(this.#polling);
    this.#pollAt = at;
    this.#polling = setTimeout(() => this.#poll(), at - now);
  }

  async #poll() {
    this.#polling = 0;
    this.#asking = true;
    this.#polledAt = performance.now();
    try {
      [this.cameras, this.iceServers] = await Promise.all([
        fetchCameras(),
        this.#iceServersKnown ? this.iceServers : fetchIceServers(),
      ]);
      this.#iceServersKnown = true;
      this.isStranger = false;
      this.#serverIs(true);
      this.dispatchEvent(new CustomEvent("listed", { detail: this.cameras }));
    } catch (error) {
      this.isStranger = error.status === 401;
      this.#serverIs(this.isStranger);
      if (this.isStranger) this.dispatchEvent(new Event("stranger"));
      this.dispatchEvent(new Event("unlisted"));
    }
    this.#asking = false;
    this.#pollIn(POLL_MS);
  }

  #serverIs(answers) {
    if (answers === this.serverAnswers) return;
    if (this.serverAnswers !== null || !answers) {
      journal.add({
        level: answers ? "info" : "error",
        text: t(answers ? "server.again" : "server.silent"),
      });
    }
    this.serverAnswers = answers;
  }
}
