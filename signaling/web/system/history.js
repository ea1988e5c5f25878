// What was measured in the last three minutes, one figure a second for each name, and its plot.

import { make, say } from "../shared/dom.js";
import { Plot } from "../shared/plot.js";

const SPAN_MS = 180_000;

export class History {
  #points = new Map();

  /** Takes the figures of now in, as `[name, value or null]`; names that are not among them are forgotten. */
  add(figures) {
    const now = performance.now();
    const known = this.#points;
    this.#points = new Map(figures.map(([name, value]) => {
      const kept = (known.get(name) ?? []).filter(([at]) => now - at <= SPAN_MS);
      return [name, [...kept, [now, value]]];
    }));
  }

  /** Nothing is known of now: the lines are interrupted. */
  gap() {
    this.add([...this.#points.keys()].map((name) => [name, null]));
  }

  /** `[atMs, value or null]`, the oldest first. */
  of(name) {
    return this.#points.get(name) ?? [];
  }
}

/** A cell with a plot and, behind it, the words of now: `words(item)`, and the history of what `name(item)` says. */
export function plotted(history, name, words, least) {
  return (cell) => {
    const text = make("span");
    const canvas = make("canvas", { class: "plot", "aria-hidden": "true" });
    const plot = new Plot(canvas, least);
    let drawing = 0;
    cell.classList.add("plotted");
    cell.append(make("div", {}, canvas, text));
    return (item) => {
      const points = history.of(name(item));
      say(text, words(item));
      canvas.hidden = points.every(([, value]) => value === null);
      // After all cells: to measure a canvas between two that change costs a layout each time.
      // One at a time: a hidden tab draws none, for hours.
      cancelAnimationFrame(drawing);
      drawing = requestAnimationFrame(() => plot.draw(points, performance.now(), SPAN_MS));
    };
  };
}
