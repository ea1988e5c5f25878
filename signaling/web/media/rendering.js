// Whether the browser draws this page at all: it draws no hidden tab, and no frame of another site out of view, and
// tells of no shown pictures there; pictures arrive all the same.

const LOOK_MS = 300; // twice that is less than the patience with a picture

export class Rendering {
  #drawn = true; // since the last look
  #stands = false;

  constructor() {
    setInterval(() => this.#look(), LOOK_MS);
  }

  /** True where nothing is drawn. */
  get stands() {
    return document.hidden || this.#stands;
  }

  #look() {
    this.#stands = !this.#drawn;
    if (!this.#drawn) return; // it is still waited for
    this.#drawn = false;
    requestAnimationFrame(() => {
      this.#drawn = true;
      this.#stands = false;
    });
  }
}
