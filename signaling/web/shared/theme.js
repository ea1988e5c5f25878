// The colours that this browser keeps: light, dark, or as the system has them.

const KEPT_AS = "cctv3.theme";

let wished = null; // since this page was opened

/** "auto", "light" or "dark". */
export function theme() {
  if (wished) return wished;
  try {
    return localStorage.getItem(KEPT_AS) ?? "auto";
  } catch {
    return "auto"; // storage is blocked in some frames
  }
}

export function applyTheme() {
  const wish = theme();
  if (wish === "light" || wish === "dark") document.documentElement.dataset.theme = wish;
  else delete document.documentElement.dataset.theme;
}

export function keepTheme(wish) {
  wished = wish;
  try {
    localStorage.setItem(KEPT_AS, wish);
  } catch {
    // It holds until the page is closed.
  }
  applyTheme();
}
