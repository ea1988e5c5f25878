// "Why no picture?": the chain of steps with a verdict at each, asked anew while it is open.

import { copyButton } from "../shared/copy.js";
import { make, say } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { chain } from "./chain.js";
import { read } from "./reading.js";
import { asText, culprit, summary } from "./report.js";

const EVERY_MS = 2000;
const KEPT_MS = 20_000; // of readings: what grew in them happens now
const LEVELS = { good: "good", warn: "wait", bad: "bad", unknown: null };

class Step {
  #state = make("span", { class: "state" });
  #text = make("p");
  #advice = make("p", { class: "advice", hidden: true });
  #facts = make("dl", { class: "facts" });
  #details;

  constructor(step) {
    this.#details = make("details", { hidden: true }, make("summary", {}, t("why.facts")), this.#facts);
    const head = make("div", { class: "head" }, make("h3", {}, t(`why.step.${step}`)), this.#state);
    this.element = make("li", {}, head, this.#text, this.#advice, this.#details);
  }

  update({ verdict, text, advice, facts }, guilty) {
    this.element.dataset.verdict = verdict;
    this.element.toggleAttribute("data-culprit", guilty);
    say(this.#state, t(`why.verdict.${verdict}`));
    this.#state.dataset.level = LEVELS[verdict] ?? "";
    say(this.#text, text);
    say(this.#advice, advice);
    this.#advice.hidden = advice === "" || guilty; // then it stands at the top
    this.#details.hidden = facts.length === 0;
    const rows = [...this.#facts.children];
    if (rows.map((row) => row.firstChild.textContent).join("\n") === facts.map(([label]) => label).join("\n")) {
      rows.forEach((row, index) => say(row.lastChild, facts[index][1]));
    } else {
      this.#facts.replaceChildren(
        ...facts.map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value))),
      );
    }
  }
}

/** Keeps showing why `update`'s tile has no picture, or that it has one. */
export class Diagnosis {
  #container;
  #signaling;
  #summary = make("p", { class: "summary", role: "status" });
  #advice = make("p", { class: "advice", hidden: true });
  #list = make("ol", { class: "chain" });
  #steps = new Map();
  #player = null;
  #readings = []; // {atMs, session, diagnosis, local}, oldest first
  #seen = make("div", { hidden: true });
  #shown = [];
  #askedAt = -Infinity;
  #asking = false;

  constructor(container, signaling) {
    this.#container = container;
    this.#signaling = signaling;
    const copy = copyButton(t("why.copy"), () =>
      asText(this.#shown, this.#player, new Date(), navigator.userAgent),
    );
    this.#seen.append(this.#list, copy);
    container.append(make("div", { class: "verdict" }, this.#summary, this.#advice), this.#seen);
  }

  /** To be called about once a second while it is seen. */
  async update(player, camera) {
    if (player !== this.#player) this.#forget(player);
    if (this.#asking || performance.now() - this.#askedAt < EVERY_MS) return;
    this.#asking = true;
    this.#askedAt = performance.now();
    try {
      const [answer, local] = await Promise.all([this.#ask(player), read(player.peer)]);
      if (player === this.#player) this.#take(player, camera, answer, local);
    } finally {
      this.#asking = false;
    }
  }

  #forget(player) {
    this.#player = player;
    this.#readings = [];
    this.#askedAt = -Infinity;
    this.#seen.hidden = this.#advice.hidden = true; // of another tile
    this.#container.scrollTop = 0;
    this.#summary.dataset.verdict = "unknown";
    say(this.#summary, t("why.asking"));
  }

  /** The server's diagnosis, or why there is none. */
  async #ask({ session, camera }) {
    const about = (subject) => this.#signaling.request({ type: "diagnose", ...subject });
    try {
      if (session) {
        try {
          return { diagnosis: await about({ session }), failure: null };
        } catch (error) {
          if (error.status !== 404) throw error;
          // The session ended a moment ago; of the camera something is known still.
        }
      }
      return { diagnosis: await about({ camera }), failure: null };
    } catch ({ status, message }) {
      return { diagnosis: null, failure: { status: status ?? 0, message } };
    }
  }

  #take(player, camera, { diagnosis, failure }, local) {
    const atMs = performance.now();
    const { session } = player;
    this.#readings = this.#readings.filter((each) => each.session === session && atMs - each.atMs <= KEPT_MS);
    const [before = null] = this.#readings;
    this.#readings.push({ atMs, session, diagnosis, local });
    const windowMs = before ? atMs - before.atMs : 0;
    this.#show(chain({ camera, diagnosis, failure, local, player, before, windowMs }), player);
  }

  #show(steps, player) {
    this.#shown = steps;
    this.#seen.hidden = false;
    const guilty = culprit(steps);
    this.#summary.dataset.verdict = guilty?.verdict ?? "good";
    say(this.#summary, summary(steps, player));
    say(this.#advice, guilty?.advice ?? "");
    this.#advice.hidden = !guilty?.advice;
    for (const each of steps) {
      if (!this.#steps.has(each.step)) {
        const step = new Step(each.step);
        this.#steps.set(each.step, step);
        this.#list.append(step.element);
      }
      this.#steps.get(each.step).update(each, each === guilty);
    }
  }
}
