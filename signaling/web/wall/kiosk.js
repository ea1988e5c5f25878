// A wall monitor: no controls, no pointer, no sleep, and nothing that waits for an answer.

const POINTER_MS = 3000;

async function stayAwake() {
  try {
    await navigator.wakeLock?.request("screen"); // wants HTTPS or localhost
  } catch {
    // The screen's own settings have to do.
  }
}

export function startKiosk() {
  document.body.classList.add("kiosk");
  let timer = 0;
  const moved = () => {
    document.body.classList.remove("still-pointer");
    clearTimeout(timer);
    timer = setTimeout(() => document.body.classList.add("still-pointer"), POINTER_MS);
  };
  addEventListener("pointermove", moved);
  moved();
  stayAwake();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) stayAwake();
  });
}
