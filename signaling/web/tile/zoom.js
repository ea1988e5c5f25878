// Digital zoom: the picture larger than its frame, moved with pointer, wheel, two fingers or keys.

const MOST = 8;
const STEP = 1.5;
const WHEEL = 0.0016; // a notch of 120 px makes it 1.2 times as large
const PAN_STEP = 0.15; // of the frame

export class Zoom {
  #frame;
  #targets;
  #scale = 1;
  #x = 0; // of the picture's centre from the frame's, in frame widths and heights
  #y = 0;
  #pointers = new Map();
  enabled = false;

  /** `targets` are enlarged within `frame`. */
  constructor(frame, targets) {
    this.#frame = frame;
    this.#targets = targets;
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    frame.addEventListener("pointermove", (event) => this.#drag(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      frame.addEventListener(kind, (event) => this.#pointers.delete(event.pointerId));
    }
  }

  get scale() {
    return this.#scale;
  }

  closer() {
    this.#to(this.#scale * STEP);
  }

  further() {
    this.#to(this.#scale / STEP);
  }

  reset() {
    this.#scale = 1;
    this.#apply();
  }

  /** Moves the view; `right` and `down` in steps. */
  pan(right, down) {
    this.#x -= right * PAN_STEP;
    this.#y -= down * PAN_STEP;
    this.#apply();
  }

  /** Zooms so that what is at (x, y), in frame sizes from the centre, stays there. */
  #to(scale, x = 0, y = 0) {
    const next = Math.min(Math.max(scale, 1), MOST);
    const factor = next / this.#scale;
    this.#x = x + (this.#x - x) * factor;
    this.#y = y + (this.#y - y) * factor;
    this.#scale = next;
    this.#apply();
  }

  #apply() {
    const most = (this.#scale - 1) / 2;
    this.#x = Math.min(Math.max(this.#x, -most), most);
    this.#y = Math.min(Math.max(this.#y, -most), most);
    const transform =
      this.#scale === 1
        ? ""
        : `translate(${this.#x * 100}%, ${this.#y * 100}%) scale(${this.#scale})`;
    for (const target of this.#targets) target.style.transform = transform;
    this.#frame.classList.toggle("zoomed", this.#scale > 1);
  }

  #place(x, y) {
    const box = this.#frame.getBoundingClientRect();
    return [(x - box.left) / box.width - 0.5, (y - box.top) / box.height - 0.5];
  }

  #wheel(event) {
    if (!this.enabled) return;
    event.preventDefault();
    const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * 40;
    this.#to(this.#scale * Math.exp(-pixels * WHEEL), ...this.#place(event.clientX, event.clientY));
  }

  #down(event) {
    if (!this.enabled) return;
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.#scale > 1) this.#frame.setPointerCapture(event.pointerId);
  }

  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!this.enabled || !before) return;
    if (event.buttons === 0) {
      this.#pointers.delete(event.pointerId); // let go of outside
      return;
    }
    const now = [event.clientX, event.clientY];
    const box = this.#frame.getBoundingClientRect();
    if (this.#pointers.size === 2) {
      const [other] = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
      const middle = this.#place((now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      this.#to((this.#scale * apart(now)) / Math.max(apart(before), 1), ...middle);
    } else if (this.#scale > 1) {
      this.#x += (now[0] - before[0]) / box.width;
      this.#y += (now[1] - before[1]) / box.height;
      this.#apply();
    }
    this.#pointers.set(event.pointerId, now);
  }
}
