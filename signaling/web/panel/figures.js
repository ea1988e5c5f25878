// Live figures of one tile: plots of the last minutes, and below them what the picture is.

import { make, say } from "../shared/dom.js";
import { ageText, bitrate, percent, seconds } from "../shared/format.js";
import { Plot } from "../shared/plot.js";
import { t } from "../shared/texts.js";
import { read } from "./reading.js";

const SPAN_MS = 180_000;
const GAP_MS = 2500; // between samples of one a second: some are missing
const UNKNOWN = "–";

// What is plotted: the member of a sample, the least top of the axis, how people read it.
const PLOTS = [
  ["fps", 10, (fps) => `${fps.toFixed(fps < 10 ? 1 : 0)} fps`],
  ["bitrate", 100_000, bitrate],
  ["lossShare", 0.01, percent],
  ["rttMs", 10, ageText],
  ["bufferMs", 50, ageText],
  ["ageMs", 100, ageText],
];

/** `[atMs, value]` of one member, with null where no samples were taken, so that no line bridges it. */
export function points(samples, member) {
  const all = [];
  let before = null;
  for (const sample of samples) {
    if (before !== null && sample.atMs - before > GAP_MS) all.push([before + 1, null]);
    all.push([sample.atMs, sample[member]]);
    before = sample.atMs;
  }
  return all;
}

/** The least, greatest and last value of a member; null where nothing was measured. */
export function extent(samples, member) {
  const values = samples.map((sample) => sample[member]).filter((value) => value !== null);
  if (values.length === 0) return null;
  return { least: Math.min(...values), most: Math.max(...values), now: samples.at(-1)[member] };
}

class PlotRow {
  #member;
  #format;
  #plot;
  #value = make("dd", { class: "value" });
  #canvas = make("canvas", { role: "img" });
  #top = make("span", { class: "axis", "aria-hidden": "true" });

  constructor(member, least, format) {
    this.#member = member;
    this.#format = format;
    this.#plot = new Plot(this.#canvas, least);
    const name = make("dt", {}, t(`panel.${member}`));
    this.element = make("div", {}, name, this.#value, make("dd", { class: "plot" }, this.#canvas, this.#top));
  }

  update(samples, nowMs) {
    const name = t(`panel.${this.#member}`);
    const range = extent(samples, this.#member);
    const top = this.#plot.draw(points(samples, this.#member), nowMs, SPAN_MS);
    say(this.#top, this.#format(top));
    if (range === null) {
      say(this.#value, UNKNOWN);
      this.#canvas.ariaLabel = t("panel.plot.none", { name });
      return;
    }
    const [now, least, most] = [range.now, range.least, range.most].map((value) =>
      value === null ? UNKNOWN : this.#format(value),
    );
    // Of the age the worst tells more than the present one.
    say(this.#value, this.#member === "ageMs" ? t("panel.worst", { now, most }) : now);
    this.#canvas.ariaLabel = t("panel.plot", { name, now, least, most });
  }
}

const FACTS = ["resolution", "codec", "dropped", "freezes", "given", "first", "session", "reconnects"];

/** What of a tile's player and its reading is worth a line, by FACTS; null where it is not known. */
export function facts(player, { video }) {
  const { latest, showing } = player;
  // The server tells only what is not the main stream, or was not.
  const given = showing?.showing ?? (latest ? "main" : null);
  const stream = given && t(`panel.given.${given}`);
  return {
    resolution: latest?.width ? `${latest.width} × ${latest.height}` : null,
    codec: video?.codec ?? null,
    dropped: video ? String(video.dropped) : null,
    freezes: latest ? t("panel.freezes.value", { count: latest.freezes, seconds: seconds(latest.freezesS) }) : null,
    given: showing?.reason ? `${stream}: ${showing.reason}` : stream,
    first: player.firstFrameMs === null ? null : ageText(player.firstFrameMs),
    // As much of it as the server's logs show: the whole would be a key to it.
    session: player.session ? `${player.session.slice(0, 6)}…` : null,
    reconnects: String(player.reconnects),
  };
}

/** Keeps showing what `update` is given. */
export class Figures {
  #player = null;
  #rows = PLOTS.map((each) => new PlotRow(...each));
  #facts = new Map(FACTS.map((name) => [name, make("dd", {}, UNKNOWN)]));

  constructor(container) {
    container.append(
      make("p", { class: "note" }, t("panel.span")),
      make("dl", { class: "plots" }, ...this.#rows.map(({ element }) => element)),
      make(
        "dl",
        { class: "facts" },
        ...FACTS.map((name) => make("div", {}, make("dt", {}, t(`panel.${name}`)), this.#facts.get(name))),
      ),
    );
  }

  async update(player) {
    this.#player = player;
    for (const row of this.#rows) row.update(player.samples, performance.now());
    const local = await read(player.peer);
    if (player !== this.#player) return; // another tile was chosen meanwhile
    const values = facts(player, local);
    for (const [name, element] of this.#facts) say(element, values[name] ?? UNKNOWN);
  }
}
