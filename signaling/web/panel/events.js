// The server's events (Server-Sent Events, WHATWG HTML section 9.2), read with fetch: unlike an EventSource it may
// ask for what happened before, goes on where it was after any answer, and says what the server refused.

import { Backoff } from "../media/backoff.js";
import { ask, Refused } from "../shared/api.js";
import { t } from "../shared/texts.js";

const SILENT_MS = 40_000; // the server gives a sign of life every 15 s

/** Pushes text in, pulls events out. */
export class EventReader {
  #rest = "";
  #id = null;
  #data = [];

  /** The events that are complete with this piece of the stream: {id, data} each. */
  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    const events = [];
    for (const line of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "id") this.#id = value;
      else if (field === "data") this.#data.push(value);
      else if (line === "" && this.#data.length > 0) {
        events.push({ id: this.#id, data: this.#data.join("\n") });
        this.#data = [];
      }
    }
    return events;
  }
}

/** Listens until closed; comes again by itself, and misses nothing that the server still keeps. */
export class ServerEvents {
  #heard;
  #says;
  #closed = new AbortController();
  #backoff = new Backoff();
  #last = "0"; // all that is kept

  /** `heard(event)` is called with each, `says(problem)` with why none come now, or "" when they do. */
  constructor(heard, says) {
    this.#heard = heard;
    this.#says = says;
    this.#run();
  }

  close() {
    this.#closed.abort();
  }

  async #run() {
    while (!this.#closed.signal.aborted) {
      let retryAfterS = 0;
      try {
        await this.#listen();
      } catch (error) {
        if (this.#closed.signal.aborted) return;
        this.#says(error instanceof Refused ? error.message : t("server.away"));
        if (error instanceof Refused) retryAfterS = error.retryAfterS;
      }
      const waitMs = Math.max(this.#backoff.next(), retryAfterS * 1000);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  async #listen() {
    const attempt = new AbortController();
    const giveUp = () => attempt.abort();
    this.#closed.signal.addEventListener("abort", giveUp);
    let silent = setTimeout(giveUp, SILENT_MS);
    try {
      const headers = { "Last-Event-ID": this.#last };
      const response = await ask("GET", "api/v1/events", { headers, signal: attempt.signal });
      this.#backoff.reset();
      this.#says("");
      const reader = new EventReader();
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await pieces.read();
        if (done) throw new Error("the server ended the stream of events");
        clearTimeout(silent);
        silent = setTimeout(giveUp, SILENT_MS);
        for (const { id, data } of reader.feed(value)) {
          this.#last = id;
          this.#heard(JSON.parse(data));
        }
      }
    } finally {
      clearTimeout(silent);
      this.#closed.signal.removeEventListener("abort", giveUp);
    }
  }
}
