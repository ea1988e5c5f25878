// Delays between attempts: at first short, then doubling up to a ceiling.

const FIRST_MS = 250;
const LONGEST_MS = 5000;

export class Backoff {
  #next = FIRST_MS;

  /** The delay before the next attempt, in milliseconds. */
  next() {
    const delay = this.#next;
    this.#next = Math.min(delay * 2, LONGEST_MS);
    return delay;
  }

  reset() {
    this.#next = FIRST_MS;
  }
}
