// The table of cameras: how each is doing; for admins also to change, remove and arrange them.

import { ask } from "../shared/api.js";
import { icon, make, mark, say } from "../shared/dom.js";
import { ageText, bitrate, cameraState, seconds } from "../shared/format.js";
import { t } from "../shared/texts.js";
import { CameraForm, settingsOf } from "./camera_form.js";
import { confirm } from "./confirm.js";
import { History, plotted } from "./history.js";
import { Table } from "./table.js";
import { number, or, reason } from "./words.js";

const SEARCH_ABOVE = 8;
const MINUTE_MS = 60_000;
const TOLD_S = 2;

const element = (id) => document.getElementById(id);
const isTroubled = ({ state }) => cameraState(state)[1] === "bad";
const rate = (fps) => t("system.per_second", { count: number(fps, fps < 10 ? 1 : 0) });

/** How old the last picture is, as the server hears of it: once a second. */
const sinceText = (ageS) => (ageS < TOLD_S ? `< ${TOLD_S} s` : ageText(ageS * 1000));

/** How much a count has grown in the last minute; it begins anew with its process. */
function grown(points) {
  const recent = points.filter(([at, count]) => count !== null && performance.now() - at <= MINUTE_MS);
  if (recent.length === 0) return null;
  const [first, last] = [recent[0][1], recent.at(-1)[1]];
  return last < first ? last : last - first;
}

export class Cameras {
  #cameras = [];
  #shown = [];
  #positions = new Map();
  #fps = new History();
  #lost = new History();
  #table;
  #poll;
  #form;
  #moves = Promise.resolve();

  /** `configures`: may change them; `poll()` has everything asked for and shown now. */
  constructor(configures, poll) {
    this.#poll = poll;
    const columns = this.#columns();
    if (configures) columns.push({ id: "actions", title: t("admin.actions"), class: "row-actions", build: (...cell) => this.#actions(...cell) });
    this.#table = new Table(element("cameras"), columns, ({ name }) => name, "state");
    this.#form = new CameraForm(
      (name) => this.#changed(t("admin.saved", { name })),
      (name, error) => say(element("cameras-problem"), `${name}: ${reason(error)}`),
    );
    element("add").hidden = !configures;
    element("add").addEventListener("click", () => this.#form.add());
    element("search").addEventListener("input", () => this.#show());
  }

  update(cameras) {
    this.#cameras = cameras;
    this.#positions = new Map(cameras.map(({ name }, index) => [name, index + 1]));
    this.#fps.add(cameras.map(({ name, fps, state }) => [name, state === "live" ? fps : null]));
    this.#lost.add(cameras.map(({ name, lost }) => [name, lost ?? null]));
    this.#show();
  }

  /** The server did not answer. */
  gap() {
    this.#fps.gap();
    this.#lost.gap();
  }

  #show() {
    const all = this.#cameras;
    const sought = element("search").value.trim().toLocaleLowerCase();
    element("search-field").hidden = all.length <= SEARCH_ABOVE && !sought;
    this.#shown = all.filter((camera) => [camera.name, cameraState(camera.state)[0], camera.error]
      .some((words) => words?.toLocaleLowerCase().includes(sought)));
    this.#table.update(this.#shown);
    const troubled = all.filter(isTroubled).length;
    const live = all.filter(({ state }) => state === "live").length;
    say(element("cameras-sum"), [
      t("system.live", { count: live, all: all.length }),
      ...(troubled ? [t("system.troubled", { count: troubled })] : []),
      ...(sought ? [t("system.found", { count: this.#shown.length })] : []),
    ].join(" · "));
    element("cameras-none").hidden = this.#shown.length > 0;
    say(element("cameras-none"), t(all.length ? "system.cameras.not_found" : "system.cameras.none"));
  }

  #columns() {
    const text = (id, order, words, more = {}) => ({ id, title: t(`system.cameras.${id}`), order, text: words, ...more });
    const count = { number: true, falls: true };
    const fps = plotted(this.#fps, ({ name }) => name, (camera) => or(camera.fps, rate), 5);
    const lost = ({ name }) => grown(this.#lost.of(name));
    const sound = ({ audio }) => or(audio, (codec) => codec);
    return [
      text("position", ({ name }) => this.#positions.get(name), ({ name }) => this.#positions.get(name), { number: true }),
      { ...text("name", ({ name }) => name), build: nameCell },
      { ...text("state", (camera) => (isTroubled(camera) ? 0 : 1)), build: stateCell },
      { ...text("video", ({ width, height }) => width && width * height, null, { falls: true }), build: videoCell },
      { ...text("fps", (camera) => camera.fps, null, count), build: fps },
      text("bitrate", (camera) => camera.bitrate, (camera) => or(camera.bitrate, bitrate), count),
      text("gop", ({ gop_s: gop }) => gop, ({ gop_s: gop }) => or(gop, seconds), count),
      text("sound", ({ audio }) => audio, sound),
      text("lost", lost, (camera) => or(lost(camera), number), count),
      text("viewers", ({ viewers }) => viewers, ({ viewers }) => number(viewers), count),
      text("age", ({ age }) => age, ({ age }) => or(age, sinceText), count),
    ];
  }

  #actions(cell, row) {
    const button = (key, symbol, run) => {
      const made = make("button", { type: "button", class: "quiet bare", title: t(key), "aria-label": t(`${key}_of`, row.item) }, icon(symbol));
      made.addEventListener("click", () => run(row.item));
      return made;
    };
    const up = button("admin.up", "up", ({ name }) => this.#move(name, -1));
    const down = button("admin.down", "down", ({ name }) => this.#move(name, 1));
    cell.append(make(
      "div",
      {},
      up,
      down,
      button("admin.change", "settings", ({ name }) => this.#open(name)),
      button("admin.remove", "trash", (camera) => this.#remove(camera)),
    ));
    return ({ name }) => {
      const position = this.#positions.get(name);
      // Not `disabled`: whoever moves a camera to the end by keyboard stays on the button.
      mark(up, "aria-disabled", !this.#isArranged || position === 1 ? "true" : null);
      mark(down, "aria-disabled", !this.#isArranged || position === this.#cameras.length ? "true" : null);
      const hint = this.#isArranged ? "" : ` (${t("admin.arrange")})`;
      mark(up, "title", t("admin.up") + hint);
      mark(down, "title", t("admin.down") + hint);
    };
  }

  /** The table shows all cameras in the order of the wall, so that "up" means what it looks like. */
  get #isArranged() {
    const { order } = this.#table;
    return order.length === this.#cameras.length && order.every((name, index) => name === this.#cameras[index].name);
  }

  /** One after the other: who presses twice means two places. */
  #move(name, by) {
    this.#moves = this.#moves.then(() => this.#moveNow(name, by));
  }

  async #moveNow(name, by) {
    const order = this.#cameras.map((camera) => camera.name);
    const from = order.indexOf(name);
    if (!this.#isArranged || !(from + by in order)) return;
    [order[from], order[from + by]] = [order[from + by], order[from]];
    await this.#try(async () => {
      await ask("PUT", "api/v1/cameras-order", { body: { order } });
      await this.#changed(t("admin.moved", { name, position: from + by + 1 }));
      this.#table.settle();
    });
  }

  async #open(name) {
    await this.#try(() => this.#form.change(name));
  }

  async #remove({ name, viewers }) {
    await this.#try(async () => {
      const { etag } = await settingsOf(name);
      const removed = await confirm({
        title: t("admin.remove_of", { name }),
        text: t("admin.remove.text", { name, viewers }),
        button: t("admin.remove"),
        run: () => ask("DELETE", `api/v1/cameras/${name}`, { headers: { "If-Match": etag } }),
      });
      if (removed) await this.#changed(t("admin.removed", { name }));
    });
  }

  async #changed(words) {
    say(element("cameras-done"), words);
    say(element("cameras-problem"), "");
    await this.#poll();
  }

  async #try(run) {
    try {
      await run();
    } catch (error) {
      say(element("cameras-problem"), reason(error));
    }
  }
}

function nameCell(cell) {
  const link = make("a", { class: "title" });
  cell.append(link);
  return ({ name }) => {
    say(link, name);
    mark(link, "href", `./#${encodeURIComponent(name)}`);
  };
}

function videoCell(cell) {
  const size = make("span");
  const codec = make("p", { class: "note second" });
  cell.append(size, codec);
  return (camera) => {
    say(size, or(camera.width, (width) => `${width} × ${camera.height}`));
    say(codec, [camera.codec, camera.profile].filter(Boolean).join(" "));
  };
}

function stateCell(cell) {
  const state = make("span", { class: "state" });
  const why = make("p", { class: "note why" });
  cell.append(state, why);
  return (camera) => {
    const [words, level] = cameraState(camera.state);
    say(state, words);
    mark(state, "data-level", level);
    say(why, camera.error ?? "");
    why.hidden = !camera.error;
  };
}
