// A small line plot on a canvas: one figure over the last seconds, redrawn when it is fed.

const LINE_PX = 1.5;
const PAD_PX = 3;

/** The step of 1, 2 or 5 times a power of ten that is at least `value`. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

export class Plot {
  #canvas;
  #least;

  /** `canvas` is sized by its style sheet; `least`: the axis reaches at least this far. */
  constructor(canvas, least = 0) {
    this.#canvas = canvas;
    this.#least = least;
    // A canvas takes no tokens, only computed colours; these follow light and dark.
    canvas.style.color = "var(--accent)";
    canvas.style.borderColor = "var(--line)";
  }

  /** Draws `[atMs, value or null]` pairs, oldest first, of the `spanMs` before `nowMs`; gives the top of the axis. */
  draw(points, nowMs, spanMs) {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const seen = points.filter(([at]) => nowMs - at <= spanMs);
    const top = roundUp(Math.max(this.#least, ...seen.map(([, value]) => value ?? 0)));
    const style = getComputedStyle(canvas);
    const x = (at) => width - ((nowMs - at) / spanMs) * width;
    const y = (value) => height - PAD_PX - (value / top) * (height - 2 * PAD_PX);
    context.strokeStyle = style.borderTopColor;
    context.lineWidth = 1;
    context.beginPath();
    for (const part of [0, 0.5, 1]) {
      context.moveTo(0, Math.round(y(top * part)) + 0.5);
      context.lineTo(width, Math.round(y(top * part)) + 0.5);
    }
    context.stroke();
    context.strokeStyle = style.color;
    context.lineWidth = LINE_PX;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    for (const [at, value] of seen) {
      if (value === null || value === undefined) drawing = false;
      else if (drawing) context.lineTo(x(at), y(value));
      else {
        context.moveTo(x(at), y(value));
        drawing = true;
      }
    }
    context.stroke();
    return top;
  }
}
