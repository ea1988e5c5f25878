// Not everything at once: whoever wants to begin takes a turn; urgent ones first, else in the order of asking.

const LONGEST_MS = 3000; // whoever takes longer waits for somebody else, and does not keep the others

export class Turns {
  #atOnce;
  #open = 0;
  #waiting = []; // {urgent(), begin}

  constructor(atOnce) {
    this.#atOnce = atOnce;
  }

  /** Waits for a turn; `urgent()` is asked when one is free. Gives the function that ends it. */
  async take(urgent = () => false) {
    if (this.#open >= this.#atOnce) {
      await new Promise((begin) => this.#waiting.push({ urgent, begin }));
    } else {
      this.#open += 1;
    }
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      this.#next();
    };
    const timer = setTimeout(end, LONGEST_MS);
    return end;
  }

  #next() {
    const first = this.#waiting.findIndex(({ urgent }) => urgent());
    const [next] = this.#waiting.splice(Math.max(first, 0), 1);
    if (next) next.begin();
    else this.#open -= 1;
  }
}
