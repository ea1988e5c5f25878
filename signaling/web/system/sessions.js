// The table of sessions: who watches what and how well it arrives; to be ended.

import { ask } from "../shared/api.js";
import { make, mark, say } from "../shared/dom.js";
import { bitrate, duration, percent } from "../shared/format.js";
import { t } from "../shared/texts.js";
import { confirm } from "./confirm.js";
import { compareWords, Table } from "./table.js";
import { milliseconds, NOTHING, or } from "./words.js";

const ALL = "";

const element = (id) => document.getElementById(id);

export class Sessions {
  #sessions = [];
  #table;
  #poll;

  /** `poll()` has everything asked for and shown now. */
  constructor(poll) {
    this.#poll = poll;
    const key = ({ worker, session }) => `${worker} ${session}`;
    this.#table = new Table(element("sessions"), this.#columns(), key, "camera");
    element("of-camera").addEventListener("change", () => this.#show());
  }

  /** `silent` are the workers that did not say what they serve. */
  update({ sessions, silent }) {
    this.#sessions = sessions;
    this.#fillFilter();
    this.#show();
    element("silent").hidden = silent.length === 0;
    say(element("silent"), t("system.silent", { workers: silent.join(", ") }));
  }

  #show() {
    const wanted = element("of-camera").value;
    const shown = this.#sessions.filter(({ camera }) => wanted === ALL || camera === wanted);
    this.#table.update(shown);
    element("sessions-none").hidden = shown.length > 0;
  }

  /** The cameras that somebody watches, and the one that is chosen. */
  #fillFilter() {
    const filter = element("of-camera");
    const counts = new Map([[ALL, this.#sessions.length]]);
    const names = this.#sessions.map(({ camera }) => camera).sort(compareWords);
    for (const name of [...names, filter.value]) counts.set(name, counts.get(name) ?? 0);
    for (const name of names) counts.set(name, counts.get(name) + 1);
    const wanted = [...counts.keys()];
    if (JSON.stringify([...filter.options].map(({ value }) => value)) !== JSON.stringify(wanted)) {
      const chosen = filter.value;
      filter.replaceChildren(...wanted.map((value) => make("option", { value })));
      filter.value = chosen;
    }
    for (const option of filter.options) {
      const count = counts.get(option.value);
      say(option, option.value === ALL ? t("system.all_cameras", { count }) : `${option.value} (${count})`);
    }
  }

  #columns() {
    const column = (id, order, words, more = {}) => ({ id, title: t(`system.sessions.${id}`), order, text: words, ...more });
    const plain = (id) => column(id, (session) => session[id], (session) => session[id] ?? NOTHING);
    const figure = (id, order, words) => column(id, order, (session) => or(order(session), words), { number: true, falls: true });
    return [
      { ...plain("viewer"), build: viewerCell },
      plain("address"),
      plain("camera"),
      plain("worker"),
      plain("path"),
      { ...column("given", ({ showing }) => showing), build: givenCell },
      figure("loss", ({ loss }) => loss, percent),
      figure("rtt", ({ rtt_s: rtt }) => rtt, milliseconds),
      figure("carries", ({ available_bitrate: carries }) => carries, bitrate),
      figure("since", ({ age }) => age, (age) => duration(age * 1000)),
      { id: "actions", title: t("system.actions"), class: "row-actions", build: (...cell) => this.#actions(...cell) },
    ];
  }

  #actions(cell, row) {
    const button = make("button", { type: "button" }, t("system.end"));
    button.addEventListener("click", () => this.#end(row.item));
    cell.append(button);
    return ({ viewer, camera }) => mark(button, "aria-label", t("system.end_of", { viewer: viewer ?? NOTHING, camera }));
  }

  async #end({ viewer, camera, session, address }) {
    const names = { viewer: viewer ?? NOTHING, camera, address: address ?? NOTHING };
    const done = await confirm({
      title: t("system.end_of", names),
      text: t("system.end.text", names),
      button: t("system.end"),
      run: () => ask("DELETE", `api/v1/sessions/${encodeURIComponent(session)}`),
    });
    if (done) await this.#poll();
  }
}

function viewerCell(cell) {
  const name = make("span", { class: "title" });
  const id = make("span", { class: "note second" });
  cell.append(name, id);
  return ({ viewer, session }) => {
    say(name, viewer ?? NOTHING);
    say(id, session);
  };
}

function givenCell(cell) {
  const words = make("span");
  const why = make("p", { class: "note why" });
  cell.append(words, why);
  return ({ showing, reason, state }) => {
    say(words, state === "connected" ? t(`system.given.${showing}`) : t("camera.connecting"));
    say(why, reason ?? "");
    why.hidden = !reason;
  };
}
