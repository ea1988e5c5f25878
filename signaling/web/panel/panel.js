// The panel beside the wall: figures of one camera, why it shows no picture, and what happened.

import { icon, make, mark, say } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { Diagnosis } from "./diagnosis.js";
import { Figures } from "./figures.js";
import { Log } from "./log.js";

const TABS = ["statistics", "why", "log"];
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/** Fills an <aside>, which is hidden while the panel is. */
export class Panel {
  #role;
  #aside;
  #title = make("h2", { id: "panel-title" });
  #nobody = make("p", { class: "note" }, t("panel.nobody"));
  #tabs = {};
  #pages = {};
  #tab = null;
  #player = null;
  #camera = null;
  #figures;
  #diagnosis;
  #log = null;
  #opener = null;

  /** `role` is what api/v1/me says. */
  constructor(container, { signaling, role }) {
    this.#aside = container;
    this.#role = role;
    for (const name of TABS) {
      this.#tabs[name] = make(
        "button",
        {
          id: `panel-tab-${name}`,
          type: "button",
          role: "tab",
          "aria-controls": `panel-${name}`,
          onclick: () => this.#select(name),
          onkeydown: (event) => this.#step(event, name),
        },
        t(`panel.${name}`),
      );
      this.#pages[name] = make("div", {
        id: `panel-${name}`,
        class: "page",
        role: "tabpanel",
        tabindex: 0, // it may be longer than the window, with nothing in it to go to
        "aria-labelledby": `panel-tab-${name}`,
      });
    }
    this.#figures = new Figures(this.#pages.statistics);
    this.#diagnosis = new Diagnosis(this.#pages.why, signaling);
    const close = make("button", {
      class: "quiet bare",
      type: "button",
      "aria-label": t("page.close"),
      title: t("page.close"),
      onclick: () => this.hide(),
    }, icon("close"));
    container.hidden = true;
    container.setAttribute("aria-labelledby", this.#title.id);
    container.addEventListener("keydown", (event) => this.#escape(event));
    container.replaceChildren(
      make("header", {}, this.#title, close),
      make("div", { class: "tabs", role: "tablist", "aria-label": t("panel.tabs") }, ...Object.values(this.#tabs)),
      this.#nobody,
      ...Object.values(this.#pages),
    );
  }

  /** The tab that is shown, or null while the panel is hidden. */
  get tab() {
    return this.#tab;
  }

  /** The entry of the tile's camera in the list of cameras. */
  set camera(camera) {
    this.#camera = camera;
  }

  /** Opens a tab on a tile, or follows to another one; the log is there without one, too. */
  show(tab, player, camera) {
    this.#camera = camera;
    if (tab === this.#tab && player === this.#player) return;
    const opens = this.#tab === null;
    if (opens) this.#opener = document.activeElement;
    this.#player = player;
    this.#aside.hidden = false;
    this.#select(tab);
    if (opens) this.#tabs[tab].focus();
  }

  hide() {
    if (this.#tab === null) return;
    const focused = this.#aside.contains(document.activeElement);
    this.#tab = null;
    this.#aside.hidden = true;
    this.#log?.close();
    this.#log = null;
    this.#pages.log.replaceChildren();
    if (focused) {
      document.activeElement.blur(); // the opener may be nothing that takes the focus
      this.#opener?.focus();
    }
    this.#opener = null;
  }

  /** To be called about once a second. */
  update() {
    if (this.#player === null) return;
    if (this.#tab === "statistics") this.#figures.update(this.#player);
    else if (this.#tab === "why") this.#diagnosis.update(this.#player, this.#camera);
  }

  #select(tab) {
    this.#tab = tab;
    const about = tab === "log" ? null : this.#player?.camera;
    say(this.#title, about ?? t(`panel.${tab}`));
    this.#nobody.hidden = tab === "log" || this.#player !== null;
    for (const each of TABS) {
      const chosen = each === tab;
      mark(this.#tabs[each], "aria-selected", String(chosen));
      this.#tabs[each].tabIndex = chosen ? 0 : -1;
      this.#pages[each].hidden = !chosen || !this.#nobody.hidden;
    }
    if (tab === "log") {
      this.#log ??= new Log(this.#pages.log, { sources: ["browser", "server"], role: this.#role });
    }
    this.update();
  }

  #step(event, from) {
    const place = TABS.indexOf(from);
    const ends = { Home: 0, End: TABS.length - 1 };
    const to = event.key in STEPS ? (place + STEPS[event.key] + TABS.length) % TABS.length : ends[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#select(TABS[to]);
    this.#tabs[TABS[to]].focus();
  }

  #escape(event) {
    const { key, target } = event;
    if (key !== "Escape" || (target.type === "search" && target.value)) return; // that clears the search
    this.hide();
  }
}
