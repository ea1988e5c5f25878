// The server's clock as this browser can know it: each exchange tells it to within half of its round trip, and the
// quickest of the last ones is believed (as in NTP, RFC 5905 section 10).

const FIRST_MS = [0, 100, 200, 400, 800];
const THEN_MS = 10_000;
const KEPT = 12; // so that a clock that drifts is followed within two minutes
const DRIFT_MS = 20; // of two clocks within that time
const SLEPT_MS = 1000; // by which the two clocks of this computer part when it sleeps, or one is set

export class ServerClock {
  #signaling;
  #exchanges = []; // {offsetMs, roundTripMs, partedMs: from performance.now() to Date.now()}
  #timers = [];

  constructor(signaling) {
    this.#signaling = signaling;
    signaling.addEventListener("open", () => this.#begin());
    setInterval(() => this.#exchange(), THEN_MS);
    if (signaling.isOpen) this.#begin();
  }

  /** Half of the round trip that is believed: the offset is known to within that. Null until it is known. */
  get uncertaintyMs() {
    const best = this.#best();
    return best && best.roundTripMs / 2;
  }

  /** UTC in ms at the server for a time of performance.now(), or null until it is known. */
  utcMs(atMs) {
    const best = this.#best();
    return best && atMs + best.offsetMs;
  }

  #best() {
    let best = null;
    const partedMs = Date.now() - performance.now();
    for (const exchange of this.#exchanges) {
      if (Math.abs(exchange.partedMs - partedMs) > SLEPT_MS) continue;
      if (best === null || exchange.roundTripMs < best.roundTripMs) best = exchange;
    }
    return best;
  }

  #begin() {
    this.#timers.forEach(clearTimeout);
    this.#timers = FIRST_MS.map((delay) => setTimeout(() => this.#exchange(), delay));
  }

  #take(exchange) {
    const best = this.#best();
    const bothMs = best && (best.roundTripMs + exchange.roundTripMs) / 2;
    // One of the clocks was set, or this computer slept: what was learned before is wrong.
    if (best && Math.abs(exchange.offsetMs - best.offsetMs) > bothMs + DRIFT_MS) this.#exchanges = [];
    this.#exchanges.push(exchange);
    if (this.#exchanges.length > KEPT) this.#exchanges.shift();
  }

  async #exchange() {
    if (!this.#signaling.isOpen) return;
    const sentMs = performance.now();
    try {
      const { utc_ms: utcMs } = await this.#signaling.request({ type: "time" });
      const heardMs = performance.now();
      const offsetMs = utcMs - (sentMs + heardMs) / 2;
      this.#take({ offsetMs, roundTripMs: heardMs - sentMs, partedMs: Date.now() - heardMs });
    } catch {
      // The next one may come through.
    }
  }
}
