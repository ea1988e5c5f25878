// The page of one camera, alone, as other pages frame it.
//
// Settings stand in the fragment of its address: `token` of a view link or a JWT, `muted`, `controls`. What is to be
// known of the picture is posted to the page around: {type: "cctv3-state", camera, phase, stale, ageMs, reason}.

import { LivePage } from "./media/page.js";
import { useToken } from "./shared/api.js";
import { fillTexts } from "./shared/texts.js";
import { factsOf } from "./tile/facts.js";
import { Tile } from "./tile/tile.js";

const TICK_MS = 200;
const UNSEEN_MS = 10_000;
const TOOLS = ["sound", "snapshot", "pip", "full"];

const settings = new URLSearchParams(location.hash.slice(1));
if (settings.get("token")) useToken(settings.get("token"));
fillTexts();

const camera = decodeURIComponent(location.pathname.split("/").at(-1));
document.title = `${camera} – cctv3`;
const page = new LivePage();
const tile = new Tile(page, camera, settings.has("controls") ? TOOLS : []);
let unseenSince = null;
let isInView = true;

function tell() {
  const { player, verdict } = tile;
  // Nothing that only the page around may know: whoever frames this page sees the picture.
  parent.postMessage({
    type: "cctv3-state",
    camera,
    phase: player.phase,
    stale: verdict !== null,
    ageMs: player.ageMs,
    reason: verdict?.kind ?? null,
  }, "*");
}

function tick() {
  const now = performance.now();
  const isSeen = isInView && !document.hidden;
  unseenSince = isSeen ? null : (unseenSince ?? now);
  if (!isSeen && document.pictureInPictureElement !== tile.video) {
    if (now - unseenSince > UNSEEN_MS) tile.player.release();
  } else if (page.serverAnswers !== null) {
    tile.start();
  }
  tile.update();
  if (parent !== window) tell();
}

tile.enlarge(true);
tile.zoom.enabled = false; // the wheel scrolls the page around
document.getElementById("camera").append(tile.element);
if (!settings.has("muted")) {
  tile.video.addEventListener("playing", () => {
    // Browsers that forbid sound before a click stop the video: then it goes on without.
    tile.mute(false);
    tile.video.play().catch(() => {
      tile.mute(true);
      tile.video.play().catch(() => {});
    });
  }, { once: true });
}
page.addEventListener("listed", ({ detail }) => {
  tile.listed(detail.find(({ name }) => name === camera) ?? null);
});
page.addEventListener("unlisted", () => tile.unlisted());
document.addEventListener("visibilitychange", tick);
new IntersectionObserver((entries) => {
  isInView = entries.at(-1).isIntersecting; // in the window, however deep this frame is in the page around
  tick();
}).observe(tile.element);
addEventListener("hashchange", () => location.reload());
setInterval(tick, TICK_MS);
page.start();

// For tests and the curious; nothing here can be written.
window.cctv3 = Object.freeze({
  get chosen() { return factsOf(tile); },
  get video() { return tile.video; },
});
