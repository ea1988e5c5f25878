// The table of media workers: what each does and has room for; to be drained.

import { ask } from "../shared/api.js";
import { make, mark, say } from "../shared/dom.js";
import { percent } from "../shared/format.js";
import { t } from "../shared/texts.js";
import { confirm } from "./confirm.js";
import { History, plotted } from "./history.js";
import { Table } from "./table.js";
import { milliseconds, number, or } from "./words.js";

const element = (id) => document.getElementById(id);
const isDraining = ({ state }) => state === "draining";
const of = (key) => ({ report }) => report?.[key];

export class Workers {
  #workers = [];
  #cpu = new History();
  #packets = new History();
  #table;
  #poll;

  /** `poll()` has everything asked for and shown now. */
  constructor(poll) {
    this.#poll = poll;
    this.#table = new Table(element("workers"), this.#columns(), ({ worker }) => worker, "worker");
  }

  update(workers) {
    this.#workers = workers;
    this.#cpu.add(workers.map(({ worker, report }) => [worker, report?.cpu ?? null]));
    this.#packets.add(workers.map(({ worker, report }) => [worker, report?.packets_per_s ?? null]));
    this.#table.update(workers);
    element("workers-none").hidden = workers.length > 0;
  }

  /** The server did not answer. */
  gap() {
    this.#cpu.gap();
    this.#packets.gap();
  }

  #columns() {
    const column = (id, order, words, more = {}) => ({ id, title: t(`system.workers.${id}`), order, text: words, ...more });
    const figure = (id, order, words) => column(id, order, (worker) => or(order(worker), words), { number: true, falls: true });
    const name = ({ worker }) => worker;
    const cameras = (worker) => of("cameras")(worker)?.join(", ");
    return [
      column("worker", name, name),
      { ...column("state", ({ state }) => state), build: stateCell },
      figure("viewers", ({ sessions }) => sessions, number),
      { ...figure("cpu", of("cpu")), build: plotted(this.#cpu, name, (worker) => or(of("cpu")(worker), percent), 0.1) },
      {
        ...figure("packets", of("packets_per_s")),
        build: plotted(this.#packets, name, (worker) => or(of("packets_per_s")(worker), number), 100),
      },
      figure("headroom", ({ headroom }) => headroom, percent),
      figure("lag", of("loop_lag_s"), milliseconds),
      figure("dropped", of("dropped_frames"), number),
      { ...column("cameras", null, (worker) => or(cameras(worker) || null, (names) => names)), order: cameras },
      { id: "actions", title: t("system.actions"), class: "row-actions", build: (...cell) => this.#actions(...cell) },
    ];
  }

  #actions(cell, row) {
    const button = make("button", { type: "button" });
    button.addEventListener("click", () => this.#drain(row.item));
    cell.append(button);
    return (worker) => {
      const key = isDraining(worker) ? "system.undrain" : "system.drain";
      say(button, t(key));
      mark(button, "aria-label", t(`${key}_of`, worker));
    };
  }

  async #drain(worker) {
    const key = isDraining(worker) ? "system.undrain" : "system.drain";
    const others = this.#workers.filter((other) => other.worker !== worker.worker && !isDraining(other));
    const text = isDraining(worker) || others.length ? `${key}.text` : "system.drain.alone";
    const done = await confirm({
      title: t(`${key}_of`, worker),
      text: t(text, worker),
      button: t(key),
      kind: isDraining(worker) ? "primary" : "danger",
      run: () => ask(isDraining(worker) ? "DELETE" : "POST", `api/v1/workers/${worker.worker}/drain`),
    });
    if (done) await this.#poll();
  }
}

function stateCell(cell) {
  const state = make("span", { class: "state" });
  cell.append(state);
  return (worker) => {
    say(state, t(`system.worker.${worker.state}`));
    mark(state, "data-level", isDraining(worker) ? "wait" : "good");
  };
}
