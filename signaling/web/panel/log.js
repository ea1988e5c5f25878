// What happened, newest last: the browser's own events and the server's, filtered and bounded.

import { journal } from "../media/journal.js";
import { copyButton } from "../shared/copy.js";
import { icon, make, say } from "../shared/dom.js";
import { language, t } from "../shared/texts.js";
import { ServerEvents } from "./events.js";

const KEPT = 1000;
const LEVELS = ["info", "warning", "error"];
const AT_END_PX = 24; // so near to the end counts as being there

const digits = (number, count = 2) => String(number).padStart(count, "0");
const day = (at) => `${at.getFullYear()}-${digits(at.getMonth() + 1)}-${digits(at.getDate())}`;

function time(at) {
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => digits(part));
  return `${clock.join(":")}.${digits(at.getMilliseconds(), 3)}`;
}

/** An event of the server as an entry like the journal's. */
export function entryOf({ at, level, camera, worker, viewer, text }) {
  const who = viewer !== null && text.includes(viewer) ? null : viewer;
  const about = [camera ?? worker, who].filter(Boolean).join(" ");
  return { at: new Date(at), level, camera, about, text, source: "server" };
}

/** True when an entry is to be seen under a filter: {camera, level, source, text}, each "" or wanted. */
export function passes(entry, { camera, level, source, text }) {
  if (camera && entry.camera !== camera) return false;
  if (level && LEVELS.indexOf(entry.level) < LEVELS.indexOf(level)) return false;
  if (source && entry.source !== source) return false;
  if (!text) return true;
  const wanted = text.toLocaleLowerCase(language);
  return [entry.text, entry.about ?? entry.camera].some((part) => part?.toLocaleLowerCase(language).includes(wanted));
}

/** An entry in one line of plain text. */
export function lineOf({ at, level, source, about, camera, text }) {
  return [day(at), time(at), level, source, about ?? camera, text].filter(Boolean).join(" ");
}

function rowOf(entry) {
  const today = day(entry.at) === day(new Date());
  return make(
    "p",
    { class: "row", data: { level: entry.level } },
    make("time", { datetime: entry.at.toISOString() }, today ? time(entry.at) : `${day(entry.at)} ${time(entry.at)}`),
    make("span", { class: "level" }, t(`log.level.${entry.level}`)),
    make("span", { class: "about" }, entry.about ?? entry.camera ?? ""),
    make("span", { class: "text" }, entry.text),
  );
}

function choice(label, options, onchange) {
  const select = make("select", { onchange }, ...options.map(([value, words]) => make("option", { value }, words)));
  return [select, make("label", {}, make("span", {}, label), select)];
}

/** `sources`: "browser", "server" or both; `role` is what api/v1/me says. */
export class Log {
  #entries = []; // {…entry, row}, by time
  #waiting = []; // come while it is paused
  #paused = false;
  #follows = true;
  #cameras = new Set();
  #camera;
  #level;
  #source;
  #text;
  #list;
  #pause = make("button", { type: "button", onclick: () => this.#togglePause() });
  #newest = make("button", { class: "newest", type: "button", hidden: true, onclick: () => this.#toEnd() });
  #nothing = make("p", { class: "note nothing" });
  #away = make("p", { class: "state", role: "status", hidden: true, data: { level: "bad" } });
  #server = null;
  #resized;
  #hear = ({ detail }) => this.#take(detail);

  constructor(container, { sources, role }) {
    const filter = () => this.#filter();
    let camera, level, source;
    [this.#camera, camera] = choice(t("log.camera"), [["", t("log.camera.all")]], filter);
    [this.#level, level] = choice(t("log.level"), LEVELS.map((each) => [each, t(`log.from.${each}`)]), filter);
    const names = ["", ...sources].map((name) => [name, t(`log.source.${name || "all"}`)]);
    [this.#source, source] = choice(t("log.source"), names, filter);
    source.hidden = sources.length === 1;
    this.#text = make("input", { type: "search", oninput: filter });
    const search = make("label", {}, make("span", {}, t("log.search")), this.#text);
    this.#list = make("div", {
      class: "rows",
      role: "log",
      tabindex: 0,
      "aria-label": t("panel.log"),
      onscroll: () => this.#scrolled(),
    });
    const clear = make("button", { type: "button", onclick: () => this.#clear() }, icon("trash"), t("log.clear"));
    const copy = copyButton(t("page.copy"), () => this.#asText());
    this.#newest.append(icon("down"), t("log.newest"));
    const knowsAll = role !== "viewer" || !sources.includes("server");
    const note = make("p", { class: "note", hidden: knowsAll }, t("log.viewer"));
    if (sources.includes("browser")) {
      journal.entries.forEach((entry) => this.#take(entry)); // before it is in the document: not to be read out
      journal.addEventListener("entry", this.#hear);
    }
    container.append(
      make(
        "div",
        { class: "log" },
        make("div", { class: "filters" }, camera, level, source, search),
        make("div", { class: "actions" }, this.#pause, clear, copy),
        this.#away,
        note,
        make("div", { class: "frame" }, this.#nothing, this.#list, this.#newest),
      ),
    );
    // What was hidden, or has another height now, is to show its end again.
    this.#resized = new ResizeObserver(() => this.#keepEnd());
    this.#resized.observe(this.#list);
    this.#showPause();
    if (sources.includes("server")) {
      this.#server = new ServerEvents(
        (event) => this.#take(entryOf(event)),
        (problem) => this.#isAway(problem),
      );
    }
    this.#say();
  }

  /** Hears no more. */
  close() {
    journal.removeEventListener("entry", this.#hear);
    this.#server?.close();
    this.#resized.disconnect();
  }

  #take(entry) {
    if (this.#paused) {
      this.#waiting.push(entry);
      if (this.#waiting.length > KEPT) this.#waiting.shift();
      this.#showPause();
      return;
    }
    this.#insert(entry);
    if (this.#entries.length > KEPT) this.#entries.shift().row.remove();
    this.#say();
    this.#keepEnd();
  }

  /** The two sources tell in turns, and the server of the past too. */
  #insert(entry) {
    const row = rowOf(entry);
    row.hidden = !passes(entry, this.#wanted());
    let place = this.#entries.length;
    while (place > 0 && this.#entries[place - 1].at > entry.at) place -= 1;
    this.#list.insertBefore(row, this.#entries[place]?.row ?? null);
    this.#entries.splice(place, 0, { ...entry, row });
    if (entry.camera) this.#know(entry.camera);
  }

  #know(camera) {
    if (this.#cameras.has(camera)) return;
    this.#cameras.add(camera);
    const names = [...this.#cameras].sort((one, other) => one.localeCompare(other, language));
    const after = this.#camera.options[names.indexOf(camera) + 1] ?? null;
    this.#camera.insertBefore(make("option", { value: camera }, camera), after);
  }

  #wanted() {
    return {
      camera: this.#camera.value,
      level: this.#level.value,
      source: this.#source.value,
      text: this.#text.value.trim(),
    };
  }

  #filter() {
    const wanted = this.#wanted();
    for (const entry of this.#entries) entry.row.hidden = !passes(entry, wanted);
    this.#say();
    this.#keepEnd();
  }

  #say() {
    this.#nothing.hidden = this.#entries.some(({ row }) => !row.hidden);
    say(this.#nothing, t(this.#entries.length > 0 ? "log.none_match" : "log.empty"));
  }

  #togglePause() {
    this.#paused = !this.#paused;
    if (!this.#paused) this.#waiting.splice(0).forEach((entry) => this.#take(entry));
    this.#showPause();
  }

  #showPause() {
    const count = this.#waiting.length;
    const words = this.#paused ? t(count > 0 ? "log.resume.waiting" : "log.resume", { count }) : t("log.pause");
    this.#pause.replaceChildren(icon(this.#paused ? "play" : "pause"), words);
  }

  #clear() {
    this.#entries = [];
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#showPause();
    this.#say();
  }

  #asText() {
    const seen = this.#entries.filter(({ row }) => !row.hidden);
    return seen.map((entry) => `${lineOf(entry)}\n`).join("");
  }

  #isAway(problem) {
    this.#away.hidden = problem === "";
    say(this.#away, problem && t("log.away", { problem }));
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    this.#follows = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    this.#newest.hidden = this.#follows;
  }

  #keepEnd() {
    if (this.#follows) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #toEnd() {
    this.#follows = true;
    this.#newest.hidden = true;
    this.#keepEnd();
  }
}
