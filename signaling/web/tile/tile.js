// One camera on screen: its picture, how old that is, why it is not live, and what can be done with it.

import { ageText, bitrate, duration, percent } from "../shared/format.js";
import { icon, make, mark, say } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { Player } from "../media/player.js";
import { journal } from "../media/journal.js";
import { Replay } from "../replay/replay.js";
import { saveSnapshot } from "./snapshot.js";
import { verdict } from "./verdict.js";
import { Zoom } from "./zoom.js";

const SMALL_PX = 800; // a picture narrower than that, in pixels of the screen, is served by a sub stream
const ASPECT = 16 / 9;
const AGE_MS = 1000;
const DOUBLE_CLICK_MS = 500;
const OUTDATED_MS = 5000; // by then it is what the present wish is given, too
const NOTE_MS = 4000;
const SUB_AGAIN_MS = 300_000;
const BROKEN = ["backing_off", "failed"];
const QUALITIES = ["auto", "main", "sub", "keyframes"];

/**
 * Events: `change` (of what is known), `enlarge`, `shrink`, `why`, `statistics`, `audible` (it is no longer muted),
 * `remove` (the viewer wants it off the wall).
 */
export class Tile extends EventTarget {
  element;
  player;
  zoom;
  wish = "auto"; // the viewer's, for the quality
  verdict = null; // what keeps the picture from being live
  info = null; // the camera as the server's list has it

  #page;
  #video;
  #still;
  #parts = {};
  #buttons = {};
  #large = false;
  #enlargedAt = -Infinity; // performance.now()
  #overlay = false;
  #subFailedAt = -Infinity;
  #agedAt = -Infinity; // performance.now()
  #replay = null; // where the page records
  #wasMuted = true; // before a replay
  #outdated = null; // what was given for another wish
  #outdatedAt = -Infinity; // performance.now()
  #noted = ""; // said for a moment

  /** `tools` are the names of the buttons that it has. */
  constructor(page, camera, tools) {
    super();
    this.#page = page;
    this.camera = camera;
    this.#build(tools);
    this.player = new Player(page, this.#video, this.#still, () => this.#large);
    this.player.addEventListener("change", () => this.update());
    if (page.recorder && tools.includes("replay")) {
      this.#replay = new Replay(page.recorder, this.player.id);
      this.#replay.addEventListener("change", () => this.#replayChanged());
    }
  }

  get video() {
    return this.#video;
  }

  get isLarge() {
    return this.#large;
  }

  get isMuted() {
    return this.#video.muted;
  }

  /** What the server lists of the camera, with state and figures of the stream that is shown: keyframes are the sub's. */
  #streamInfo() {
    const { info, player } = this;
    const shown = player.showing?.showing ?? player.quality;
    if (!info?.sub || !["sub", "keyframes"].includes(shown)) return info;
    const { state, fps, gop_s: gopS } = info.sub;
    // While nobody has asked for it, the camera's own state is all there is.
    return { ...info, state: state === "idle" ? info.state : state, fps: fps ?? info.fps, gop_s: gopS ?? info.gop_s };
  }

  /** Begins to play, or goes on. */
  start() {
    if (this.player.phase === "idle") this.player.play(this.camera, this.#fitting());
    else this.player.resume();
  }

  /** Plays what the server has ended. */
  open() {
    this.player.play(this.camera, this.#fitting());
  }

  /** Takes in what the server lists: an entry of GET cameras, or null where it is not among them. */
  listed(info) {
    this.info = info;
    if (info) {
      const { state, fps, gop_s: gopS } = this.#streamInfo();
      this.player.cameraIs(state, fps, gopS);
    } else {
      this.player.cameraIsGone();
    }
    this.fit();
    this.update();
  }

  /** The server does not answer. */
  unlisted() {
    if (this.#page.isStranger) this.player.cameraIsGone();
    this.player.cameraIs("unknown");
    this.update();
  }

  /** The tile fills the wall, or does no more. */
  enlarge(large) {
    this.#large = large;
    if (large) this.#enlargedAt = performance.now();
    this.zoom.enabled = large;
    if (!large) {
      this.zoom.reset();
      this.#replay?.stop();
    }
    this.element.classList.toggle("large", large);
    this.fit();
    this.update();
  }

  /** Asks for the stream that fits the tile's size, unless the viewer chose one. */
  fit() {
    if (this.player.phase === "idle") return;
    const quality = this.#fitting();
    if (quality !== this.player.quality) {
      this.#outdated = this.player.showing;
      this.#outdatedAt = performance.now();
    }
    this.player.select(quality);
  }

  set overlay(shown) {
    this.#overlay = shown;
    this.update();
  }

  choose(quality) {
    this.wish = quality;
    this.fit();
    this.update();
  }

  mute(muted) {
    this.#video.muted = muted;
    if (!muted) this.dispatchEvent(new Event("audible"));
    this.update();
  }

  /** Shows the last half minute of the enlarged picture once more, or goes back to what is live. */
  replay() {
    if (this.#replay?.isRunning) this.#replay.stop();
    else if (this.#replay?.isPossible && this.#large) {
      this.#wasMuted = this.isMuted;
      this.mute(true); // sound of now does not belong to a picture of before
      this.#replay.start();
      this.#parts.veil.after(this.#replay.element);
    }
  }

  /** Saves what is on screen, be it live, old, or a replay. */
  async snapshot() {
    try {
      const utcMs = this.#page.serverClock.utcMs(performance.now()) ?? Date.now();
      const liveAt = new Date(utcMs - (this.player.ageMs ?? 0));
      const { surface, shownAt } = (this.#replay?.isRunning && this.#replay) || { shownAt: liveAt };
      await saveSnapshot(surface ?? (this.#still.hidden ? this.#video : this.#still), this.camera, shownAt);
    } catch {
      this.#note(t("tile.snapshot.failed"));
    }
  }

  /** Says something of the moment on the tile. */
  #note(text) {
    journal.add({ level: "warning", camera: this.camera, text });
    this.#noted = text;
    setTimeout(() => {
      this.#noted = "";
      this.update();
    }, NOTE_MS);
    this.update();
  }

  async pictureInPicture() {
    try {
      if (document.pictureInPictureElement === this.#video) await document.exitPictureInPicture();
      else await this.#video.requestPictureInPicture();
    } catch (error) {
      this.#note(error.message);
    }
  }

  async fullScreen() {
    try {
      if (document.fullscreenElement === this.element) await document.exitFullscreen();
      else await this.element.requestFullscreen();
    } catch (error) {
      this.#note(error.message);
    }
  }

  dispose() {
    this.#replay?.dispose();
    this.player.dispose();
    this.element.remove();
  }

  /** Shows what is so now; cheap when nothing has changed. */
  update() {
    const { player } = this;
    const before = this.verdict?.kind ?? "live";
    this.verdict = verdict(player, this.#streamInfo(), this.#page);
    const now = this.verdict?.kind ?? "live";
    if (now !== before && (this.verdict?.old || before === "frozen" || before === "stalled")) {
      const text = this.verdict ? t(`verdict.${now}.title`) : t("tile.live");
      journal.add({ level: this.verdict ? "warning" : "info", camera: this.camera, text });
    }
    if (this.verdict?.old && document.pictureInPictureElement === this.#video) {
      document.exitPictureInPicture().catch(() => {}); // its window has no room to say that the picture is old
    }
    mark(this.element, "data-kind", now);
    mark(this.element, "aria-label", `${this.camera}, ${this.verdict ? t(`verdict.${now}.title`) : t("tile.live")}`);
    this.#showVeil();
    this.#showBar();
    this.#showTools();
    this.dispatchEvent(new Event("change"));
  }

  #replayChanged() {
    if (this.#replay.isRunning === this.element.classList.contains("replaying")) {
      this.#showTools();
      return;
    }
    this.element.classList.toggle("replaying", this.#replay.isRunning);
    if (!this.#replay.isRunning) {
      if (!this.#wasMuted) this.mute(false);
      if (this.#large && document.activeElement === document.body) this.element.focus(); // a control of it had it
    }
    this.#showTools();
  }

  #fitting() {
    if (this.wish !== "auto") return this.wish;
    const hasSub = this.info?.renditions.includes("sub") && !this.#subFails();
    const { clientWidth, clientHeight } = this.element;
    const pixels = Math.min(clientWidth, clientHeight * ASPECT) * devicePixelRatio;
    return hasSub && !this.#large && pixels > 0 && pixels < SMALL_PX ? "sub" : "auto";
  }

  /** A sub stream that was asked for and does not come is left alone for a while. */
  #subFails() {
    const now = performance.now();
    if (BROKEN.includes(this.info?.sub?.state)) this.#subFailedAt = now;
    return now - this.#subFailedAt < SUB_AGAIN_MS;
  }

  #showVeil() {
    const { veil, title, old, detail, advice, again, actions } = this.#parts;
    const why = this.verdict;
    mark(veil, "hidden", why === null);
    if (why === null) return;
    mark(veil, "data-old", why.old);
    say(title, t(`verdict.${why.kind}.title`));
    const quiet = why.kind === "released" || !why.old;
    say(old, quiet ? "" : t("verdict.old", { seconds: duration(this.player.stillMs) }));
    const spoken = why.kind === "released" ? "" : why.detail;
    say(detail, spoken ?? "");
    const text = t(`verdict.${why.kind}.advice`);
    say(advice, text.startsWith("verdict.") ? "" : text);
    say(again, why.retryMs ? t("verdict.again", { seconds: duration(why.retryMs) }) : "");
    mark(actions, "hidden", why.kind !== "ended" && why.kind !== "gone");
  }

  #showBar() {
    const { state, age, given, figures } = this.#parts;
    const { player } = this;
    const live = this.verdict === null;
    const quiet = ["released", "connecting", "waking"].includes(this.verdict?.kind);
    state.dataset.level = live ? "good" : quiet ? "wait" : "bad";
    const ageMs = player.ageMs;
    // Of a live picture once a second: people cannot read what changes with each.
    if (!live || performance.now() - this.#agedAt >= AGE_MS) {
      this.#agedAt = performance.now();
      say(age, ageMs === null ? "" : ageText(ageMs));
    }
    const isOutdated =
      player.showing === this.#outdated && performance.now() - this.#outdatedAt < OUTDATED_MS;
    const { showing, reason } = (!isOutdated && player.showing) || {};
    // What was asked for because the tile is small needs no words.
    const expected = this.wish === "auto" && showing === "sub" && player.quality === "sub";
    const note = this.#noted || player.refusal || (showing && showing !== "main" && !expected ? t(`tile.given.${showing}`, { reason }) : "");
    say(given, note);
    mark(given, "hidden", !note || !(live || this.#noted));
    mark(figures, "hidden", !this.#overlay);
    if (this.#overlay) say(figures, this.#figures());
  }

  #figures() {
    const { latest, rates, ageMs } = this.player;
    if (!latest || !rates) return "–";
    const named = (name, value) => t(`tile.figure.${name}`, { value });
    const ms = (name, value) => (value === null ? null : named(name, `${value.toFixed(0)} ms`));
    return [
      `${latest.width} × ${latest.height}`,
      `${rates.fps.toFixed(1)} fps`,
      bitrate(rates.bitrate),
      named("loss", percent(rates.lossShare)),
      ms("rtt", latest.rttMs),
      ms("buffer", rates.bufferMs),
      ms("age", ageMs),
    ].filter(Boolean).join(" · ");
  }

  #showTools() {
    const { sound, enlarge, replay } = this.#buttons;
    if (replay) {
      mark(replay, "hidden", !this.#replay.isPossible && !this.#replay.isRunning);
      mark(replay, "aria-pressed", String(this.#replay.isRunning));
      const label = t("replay.start", { time: duration(this.#replay.lengthMs) });
      if (replay.title !== label) replay.ariaLabel = replay.title = label;
    }
    if (sound) {
      mark(sound, "hidden", !this.player.hasSound);
      this.#face(sound, this.#video.muted ? "mute" : "sound", t(this.#video.muted ? "tile.sound.on" : "tile.sound.off"));
    }
    if (enlarge) {
      this.#face(enlarge, this.#large ? "shrink" : "enlarge", t(this.#large ? "tile.shrink" : "tile.enlarge"));
    }
    const { quality } = this.#parts;
    if (quality) {
      if (quality.value !== this.wish) quality.value = this.wish;
      quality.querySelector("[value=sub]").disabled = !this.info?.renditions.includes("sub");
    }
  }

  #face(button, name, label) {
    if (button.dataset.face === name) return;
    button.dataset.face = name;
    button.replaceChildren(icon(name));
    button.ariaLabel = button.title = label;
  }

  #build(tools) {
    this.#video = make("video", { autoplay: true, playsinline: true, disableremoteplayback: true });
    this.#video.muted = true;
    this.#still = make("canvas", { class: "still", hidden: true });
    const stage = make("div", { class: "stage" }, this.#video, this.#still);
    this.zoom = new Zoom(stage, [this.#video, this.#still]);
    const p = this.#parts;
    p.title = make("p", { class: "veil-title" });
    p.old = make("p", { class: "veil-old" });
    p.detail = make("p", { class: "veil-detail" });
    p.advice = make("p", { class: "veil-advice" });
    p.again = make("p", { class: "veil-again" });
    p.actions = make(
      "p",
      { class: "veil-actions", hidden: true },
      make("button", { type: "button", onclick: () => this.open() }, t("verdict.open")),
      tools.includes("remove")
        ? make("button", { type: "button", onclick: () => this.#tell("remove") }, t("verdict.remove"))
        : null,
    );
    p.veil = make("div", { class: "veil" }, p.title, p.old, p.detail, p.advice, p.again, p.actions);
    p.given = make("p", { class: "given", hidden: true });
    p.figures = make("p", { class: "figures", hidden: true });
    p.age = make("span", { class: "age", title: t("tile.age.title") });
    p.state = make("span", { class: "state", data: { level: "wait" } }, p.age);
    const bar = make("div", { class: "bar" }, make("span", { class: "name" }, this.camera), p.state);
    const row = make("div", { class: "tools" }, ...tools.map((name) => this.#tool(name)));
    this.element = make(
      "article",
      { class: "tile", data: { camera: this.camera } },
      stage, p.veil, p.figures, p.given, row, bar,
    );
    // Not of the target: a button that was clicked may have changed its face by now.
    const onControl = (event) => event.composedPath().some((part) => part.matches?.("button, select"));
    this.element.addEventListener("click", (event) => {
      if (!this.#large && !onControl(event)) this.#tell("enlarge");
    });
    this.element.addEventListener("dblclick", (event) => {
      const begun = performance.now() - this.#enlargedAt < DOUBLE_CLICK_MS; // by its first click
      if (this.#large && !begun && !onControl(event)) this.#tell("shrink");
    });
  }

  #tell(kind) {
    this.dispatchEvent(new Event(kind));
  }

  #tool(name) {
    if (name === "quality") {
      this.#parts.quality = make(
        "select",
        { class: "quality", "aria-label": t("tile.quality"), onchange: ({ target }) => this.choose(target.value) },
        ...QUALITIES.map((value) => make("option", { value }, t(`tile.quality.${value}`))),
      );
      return this.#parts.quality;
    }
    const actions = {
      sound: ["mute", "tile.sound.on", () => this.mute(!this.#video.muted)],
      snapshot: ["camera", "tile.snapshot", () => this.snapshot()],
      replay: ["replay", "replay.start", () => this.replay()],
      pip: ["pip", "tile.pip", () => this.pictureInPicture()],
      full: ["full", "tile.full", () => this.fullScreen()],
      statistics: ["chart", "tile.statistics", () => this.#tell("statistics")],
      why: ["why", "tile.why", () => this.#tell("why")],
      "zoom-in": ["zoom-in", "tile.zoom.in", () => this.zoom.closer()],
      "zoom-out": ["zoom-out", "tile.zoom.out", () => this.zoom.further()],
      enlarge: ["enlarge", "tile.enlarge", () => this.#tell(this.#large ? "shrink" : "enlarge")],
    };
    if (!(name in actions)) return null;
    if (name === "pip" && !document.pictureInPictureEnabled) return null;
    if (name === "replay" && !this.#page.recorder) return null;
    if (name === "full" && !document.fullscreenEnabled) return null;
    const [face, key, onclick] = actions[name];
    const button = make("button", { type: "button", class: `tool ${name}`, onclick });
    this.#face(button, face, t(key));
    this.#buttons[name] = button;
    return button;
  }
}
