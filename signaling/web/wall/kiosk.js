// A wall monitor: no controls, no pointer, no sleep, and nothing that waits for an answer.

const POINTER_MS = 3000;
const ENDED_MS = 60_000;

async function stayAwake() {
  try {
    await navigator.wakeLock?.request("screen"); // wants HTTPS or localhost
  } catch {
    // The screen's own settings have to do.
  }
}

/** Opens what the server has ended, a minute later and as long as it may be seen: nobody is there who clicks. */
function openAgain(wall) {
  const endedSince = new WeakMap(); // tile -> performance.now()
  wall.addEventListener("listed", () => {
    for (const tile of wall.tiles) {
      if (tile.player.phase !== "ended" || !tile.info) endedSince.delete(tile);
      else if (!endedSince.has(tile)) endedSince.set(tile, performance.now());
      else if (performance.now() - endedSince.get(tile) > ENDED_MS) tile.open();
    }
  });
}

export function startKiosk(wall) {
  document.body.classList.add("kiosk");
  let timer = 0;
  const moved = () => {
    document.body.classList.remove("still-pointer");
    clearTimeout(timer);
    timer = setTimeout(() => document.body.classList.add("still-pointer"), POINTER_MS);
  };
  addEventListener("pointermove", moved);
  moved();
  openAgain(wall);
  stayAwake();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) stayAwake();
  });
}
