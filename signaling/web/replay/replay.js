// The last half minute of a picture once more, from what this browser itself received: the server is asked nothing.

import { icon, make, mark, say } from "../shared/dom.js";
import { duration } from "../shared/format.js";
import { t } from "../shared/texts.js";

const LEAST_MS = 2000;
const MOST_MS = 30_000;

let runs = 0; // of all tiles

/** Says by the event `change` that it became possible, or began, or ended. */
export class Replay extends EventTarget {
  element = null; // what lies over the live picture while it runs
  surface = null; // its canvas
  shownAt = null; // when the picture on it came

  #recorder;
  #tile;
  #run = 0; // what is said of another one is not for this
  #listening = new AbortController();
  #slider;
  #words;
  #pause;
  #paused = false;
  #sliding = false;

  /** Of what `recorder` keeps of a tile. */
  constructor(recorder, tile) {
    super();
    this.#recorder = recorder;
    this.#tile = tile;
    const { signal } = this.#listening;
    recorder.addEventListener("kept", () => this.#changed(), { signal });
    recorder.addEventListener("replay", ({ detail }) => this.#heard(detail), { signal });
  }

  /** How far back it goes, in ms. */
  get lengthMs() {
    return Math.min(this.#recorder.keptMs(this.#tile), MOST_MS);
  }

  get isPossible() {
    return this.lengthMs >= LEAST_MS;
  }

  get isRunning() {
    return this.element !== null;
  }

  /** Begins; `element` is to be put over the live picture. */
  start() {
    const canvas = (this.surface = make("canvas"));
    const surface = canvas.transferControlToOffscreen();
    this.#paused = false;
    this.#sliding = false;
    this.#words = make("p", { class: "replay-words" }, t("replay.title"));
    this.#slider = make("input", {
      type: "range", min: 0, max: 1, step: 10, value: 0, "aria-label": t("replay.position"),
      oninput: ({ target }) => {
        this.#sliding = true;
        this.#recorder.tell({ type: "seek", atMs: Number(target.value) });
      },
      onchange: () => {
        this.#sliding = false;
      },
    });
    this.#pause = make("button", { type: "button", class: "tool", onclick: () => this.#toggle() });
    this.#showPause();
    const live = make("button", { type: "button", class: "tool replay-live", onclick: () => this.stop() }, t("replay.live"));
    this.element = make(
      "div", { class: "replay-over", role: "region", "aria-label": t("replay.title") }, canvas, this.#words,
      make("div", { class: "replay-controls" }, this.#pause, this.#slider, live),
    );
    this.#run = ++runs;
    this.#recorder.tell({ type: "play", tile: this.#tile, canvas: surface, run: this.#run }, [surface]);
    this.#changed();
  }

  stop() {
    if (!this.isRunning) return;
    this.#recorder.tell({ type: "stop" });
    this.#end();
  }

  dispose() {
    this.stop();
    this.#listening.abort();
  }

  #end() {
    this.element.remove();
    this.element = this.surface = null;
    this.#changed();
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#recorder.tell({ type: this.#paused ? "pause" : "resume" });
    this.#showPause();
  }

  #showPause() {
    const label = t(this.#paused ? "replay.go_on" : "replay.pause");
    this.#pause.replaceChildren(icon(this.#paused ? "play" : "pause"));
    this.#pause.ariaLabel = this.#pause.title = label;
  }

  #heard(message) {
    if (!this.isRunning || message.run !== this.#run) return;
    if (message.type === "playing") this.#show(message);
    else this.#end();
  }

  #show({ atMs, lengthMs, arrivedMs }) {
    mark(this.#slider, "max", Math.round(lengthMs));
    if (!this.#sliding) this.#slider.value = Math.round(atMs);
    this.shownAt = new Date(arrivedMs);
    const ago = t("replay.ago", { time: duration(Date.now() - arrivedMs) });
    say(this.#words, `${t("replay.title")} · ${ago} · ${this.shownAt.toLocaleTimeString()}`);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
