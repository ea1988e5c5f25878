// How tiles fill a window. Pure.

const ASPECT = 16 / 9;
const GAP_PX = 4;
const SMALLEST_PX = 150; // a narrower tile shows nothing; the wall scrolls instead
const NARROW_PX = 560; // phones: tiles stand below each other

export const CHOICES = [1, 4, 9, 16, 25, 36, 49, 64];

/** The width of the largest 16:9 picture in a tile when `count` of them stand in `columns`. */
function pictureWidth(count, columns, width, height) {
  const rows = Math.ceil(count / columns);
  const tileWidth = (width - GAP_PX * (columns - 1)) / columns;
  const tileHeight = (height - GAP_PX * (rows - 1)) / rows;
  return Math.min(tileWidth, tileHeight * ASPECT);
}

function bestColumns(count, width, height) {
  let best = 1;
  for (let columns = 2; columns <= count; columns++) {
    if (pictureWidth(count, columns, width, height) > pictureWidth(count, best, width, height)) best = columns;
  }
  return best;
}

/**
 * `{columns, rowPx}` for `count` tiles in a window of `width` by `height` CSS pixels.
 *
 * `choice` is "auto" (all at once, as long as they are large enough) or how many to show at once; further ones are
 * reached by scrolling.
 */
export function gridOf(count, choice, width, height) {
  const scrolling = (columns) => ({
    columns,
    rowPx: Math.floor(((width - GAP_PX * (columns - 1)) / columns) / ASPECT),
  });
  if (width < NARROW_PX) {
    const shown = choice === "auto" ? count : choice;
    if (choice !== 1) return scrolling(shown <= 4 ? 1 : 2);
  }
  if (choice === "auto") {
    const columns = bestColumns(Math.max(count, 1), width, height);
    if (pictureWidth(count, columns, width, height) < SMALLEST_PX) {
      return scrolling(Math.max(1, Math.floor((width + GAP_PX) / (SMALLEST_PX + GAP_PX))));
    }
    const rows = Math.ceil(Math.max(count, 1) / columns);
    return { columns, rowPx: Math.floor((height - GAP_PX * (rows - 1)) / rows) };
  }
  const side = Math.ceil(Math.sqrt(choice));
  return { columns: side, rowPx: Math.floor((height - GAP_PX * (side - 1)) / side) };
}
