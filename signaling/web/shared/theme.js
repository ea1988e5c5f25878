// The colours that this browser keeps: light, dark, or as the system has them.

const KEPT_AS = "cctv3.theme";

/** "auto", "light" or "dark". */
export function theme() {
  try {
    return localStorage.getItem(KEPT_AS) ?? "auto";
  } catch {
    return "auto"; // storage is blocked in some frames
  }
}

export function applyTheme() {
  const kept = theme();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  else delete document.documentElement.dataset.theme;
}

export function keepTheme(wish) {
  localStorage.setItem(KEPT_AS, wish);
  applyTheme();
}
