// Tiles are moved by pointer: with a mouse at once, with a finger after a moment, so that scrolling stays possible.

const START_PX = 8;
const HOLD_MS = 350;

export class Drag {
  #container;
  #allowed;
  #moved;
  #dropped;
  #held = null; // {tile, pointer, x, y, timer, dragging}
  #swallow = false; // the click that ends a drag

  /**
   * Of the `.tile` children of `container`; `allowed()` tells whether now. `moved(tile, over, after)` is called
   * when it stands over another one, `dropped()` at the end.
   */
  constructor(container, allowed, moved, dropped) {
    this.#container = container;
    this.#allowed = allowed;
    this.#moved = moved;
    this.#dropped = dropped;
    container.addEventListener("pointerdown", (event) => this.#down(event));
    container.addEventListener("pointermove", (event) => this.#move(event));
    container.addEventListener("pointerup", (event) => this.#up(event));
    container.addEventListener("pointercancel", (event) => this.#up(event));
    container.addEventListener("touchmove", (event) => {
      if (this.#held?.dragging) event.preventDefault();
    }, { passive: false });
    container.addEventListener("contextmenu", (event) => {
      if (this.#held?.dragging) event.preventDefault(); // a finger that stays asks for one
    });
    container.addEventListener("click", (event) => {
      if (this.#swallow) event.stopPropagation();
      this.#swallow = false;
    }, { capture: true });
  }

  #down(event) {
    const tile = event.target.closest(".tile");
    if (this.#held?.dragging) return; // another finger
    if (this.#held) this.#end(this.#held); // it was let go of outside
    this.#swallow = false;
    if (!tile || event.button !== 0 || !this.#allowed() || event.target.closest("button, select, a")) return;
    const held = { tile, pointer: event.pointerId, x: event.clientX, y: event.clientY, dragging: false };
    held.timer = event.pointerType === "mouse" ? 0 : setTimeout(() => this.#begin(held), HOLD_MS);
    this.#held = held;
  }

  #begin(held) {
    if (held !== this.#held) return;
    held.dragging = true;
    held.tile.classList.add("dragged");
    this.#container.setPointerCapture(held.pointer);
  }

  #move(event) {
    const held = this.#held;
    if (held?.pointer !== event.pointerId) return;
    if (!held.dragging && event.buttons === 0) {
      this.#end(held); // it was let go of outside
      return;
    }
    const far = Math.hypot(event.clientX - held.x, event.clientY - held.y) > START_PX;
    if (!held.dragging) {
      if (!far) return;
      if (held.timer) {
        this.#end(held); // it scrolls
        return;
      }
      this.#begin(held);
    }
    this.#follow(held, event);
  }

  /** Puts the tile in place of the one under the pointer. */
  #follow(held, event) {
    const over = document.elementsFromPoint(event.clientX, event.clientY)
      .map((element) => element.closest?.(".tile"))
      .find((tile) => tile && tile !== held.tile);
    if (!over || !this.#container.contains(over)) return;
    const after = Boolean(held.tile.compareDocumentPosition(over) & Node.DOCUMENT_POSITION_FOLLOWING);
    this.#moved(held.tile, over, after);
  }

  #up(event) {
    const held = this.#held;
    if (held?.pointer !== event.pointerId) return;
    if (held.dragging) {
      this.#swallow = event.type === "pointerup";
      if (this.#swallow) this.#follow(held, event);
      this.#dropped();
    }
    this.#end(held);
  }

  #end(held) {
    clearTimeout(held.timer);
    held.tile.classList.remove("dragged");
    this.#held = null;
  }
}
