// What keys do on the wall. Nothing while somebody types, or a dialog or menu is open.

const GRIDS = { 1: 1, 2: 4, 3: 9, 4: 16, a: "auto" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The key is for what has the focus, or for a dialog or menu. */
function isTyping({ target, key }) {
  if (document.querySelector("dialog[open], :popover-open")) return true;
  const control = target.closest?.("input, select, textarea, [role=tab], .panel");
  if (!control) return false;
  if (!control.closest(".tile")) return true;
  // Of a tile's own: a slider takes the arrows, a menu letters too.
  return key !== "Escape" && !(control.type === "range" && !(key in ARROWS));
}

/** Follows the keyboard; `actions`: {enlarge(camera or null), grid(choice), show(tab), help()}. */
export function followKeys(wall, actions) {
  document.addEventListener("keydown", (event) => {
    if (isTyping(event) || event.ctrlKey || event.metaKey) return;
    if (handle(event, wall, actions)) event.preventDefault();
  });
}

/** The key's letter, also where the keyboard writes Hangul or another script, or capitals. */
function letter({ key, code }) {
  if (/^[ -~]$/.test(key)) return key.toLowerCase();
  return code.startsWith("Key") ? code.at(-1).toLowerCase() : key;
}

function handle(event, wall, actions) {
  const tile = wall.chosen;
  const arrow = ARROWS[event.key];
  if (arrow) return turn(arrow, event.altKey, wall, actions);
  if (event.altKey || !tile) return false;
  const onTile = event.target.classList?.contains("tile");
  const key = letter(event);
  switch (key) {
    case "Enter":
    case " ":
      if (!onTile) return false; // a button does what it is for
      actions.enlarge(tile.isLarge ? null : tile.camera);
      return true;
    case "Escape":
      if (!tile.isLarge) return false;
      actions.enlarge(null);
      return true;
    case "+":
      if (tile.isLarge) tile.zoom.closer();
      return tile.isLarge;
    case "-":
      if (tile.isLarge) tile.zoom.further();
      return tile.isLarge;
    case "0":
      if (tile.isLarge) tile.zoom.reset();
      return tile.isLarge;
    case "m":
      tile.mute(!tile.isMuted);
      return true;
    case "s":
      tile.snapshot();
      return true;
    case "p":
      tile.pictureInPicture();
      return true;
    case "f":
      tile.fullScreen();
      return true;
    case "r":
      tile.replay();
      return tile.isLarge;
    case "i":
      actions.show("statistics");
      return true;
    case "w":
      actions.show("why");
      return true;
    case "l":
      actions.show("log");
      return true;
    case "?":
      actions.help();
      return true;
  }
  if (key in GRIDS) {
    actions.grid(GRIDS[key]);
    return true;
  }
  return false;
}

function turn([right, down], withAlt, wall, actions) {
  const tile = wall.chosen;
  if (!tile) return false;
  if (withAlt) {
    if (tile.isLarge) return false; // the browser's way back
    wall.moveChosen(right, down);
    return true;
  }
  if (!tile.isLarge) return Boolean(wall.step(right, down));
  if (tile.zoom.scale > 1) {
    tile.zoom.pan(right, down);
    return true;
  }
  const tiles = wall.tiles;
  const next = tiles[(tiles.indexOf(tile) + right + down + tiles.length) % tiles.length];
  actions.enlarge(next.camera);
  return true;
}
