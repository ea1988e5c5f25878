// What this browser did and met, newest last: connections, pictures, losses; for the log and for tests.

const KEPT = 1000;

class Journal extends EventTarget {
  entries = []; // {at: Date, level: "info", "warning" or "error", camera or null, text, source}

  /** Takes in something that happens now and says so by the event `entry`, with it as detail. */
  add({ level = "info", camera = null, text }) {
    const entry = { at: new Date(), level, camera, text, source: "browser" };
    this.entries.push(entry);
    if (this.entries.length > KEPT) this.entries.shift();
    this.dispatchEvent(new CustomEvent("entry", { detail: entry }));
  }
}

export const journal = new Journal();
