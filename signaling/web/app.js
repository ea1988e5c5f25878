// The page: the list of cameras, the one that is picked, and what is known of it.

import { fetchCameras, fetchIceServers, fetchMe } from "./api.js";
import { bitrate, cameraFacts, cameraState, given, seconds } from "./format.js";
import { Player } from "./player.js";
import { Signaling } from "./signaling.js";

const POLL_MS = 1000;
const NEWS_MS = 100; // after something happened to a camera; more may follow
const STALE_MS = 2000;

const element = (id) => document.getElementById(id);
const signaling = new Signaling();
const player = new Player(signaling, element("video"), element("still"), show);
let cameras = [];
let serverAnswers = false;
let iceServersKnown = false; // for certain: a server that restarts may have others
let polling = 0;
let pollAt = 0;

function setText(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

function setState(id, words, level) {
  setText(id, words);
  element(id).dataset.level = level;
}

function pick(name) {
  if (name === player.camera && player.phase !== "ended") return;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  player.play(name);
  show();
}

function nameInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function followAddress() {
  const wanted = nameInAddress();
  if (wanted !== player.camera && cameras.some(({ name }) => name === wanted)) pick(wanted);
}

function pickFirst() {
  followAddress();
  if (player.camera !== null || cameras.length === 0) return;
  pick((cameras.find(({ state }) => state === "live") ?? cameras[0]).name);
}

function listItem(name) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => pick(name));
  for (const [tag, kind] of [["span", "name"], ["span", "line"]]) {
    const part = document.createElement(tag);
    part.className = kind;
    button.append(part);
  }
  button.querySelector(".name").textContent = name;
  const state = document.createElement("span");
  state.className = "state";
  button.querySelector(".line").append(state, document.createElement("span"));
  item.append(button);
  return item;
}

function showList() {
  const list = element("cameras");
  const names = cameras.map(({ name }) => name);
  if ([...list.children].map((item) => item.dataset.name).join("\n") !== names.join("\n")) {
    list.replaceChildren(...names.map((name) => {
      const item = listItem(name);
      item.dataset.name = name;
      return item;
    }));
  }
  cameras.forEach((camera, index) => {
    const button = list.children[index].firstChild;
    const [state, note] = button.querySelector(".line").children;
    const [words, level] = cameraState(camera.state);
    state.textContent = words;
    state.dataset.level = level;
    note.textContent = camera.height ? `${camera.width} × ${camera.height}` : "";
    button.title = camera.error ?? "";
    button.setAttribute("aria-current", String(camera.name === player.camera));
  });
}

function showVeil(camera) {
  const age = player.lastFrameAt === null ? null : performance.now() - player.lastFrameAt;
  const stale = Math.max(STALE_MS, 3 * player.pictureMs);
  const veil = element("veil");
  veil.hidden = age !== null && age < stale && player.phase !== "waiting";
  if (veil.hidden) return;
  let title = "Connecting…";
  if (player.phase === "ended") title = "The picture was ended";
  else if (player.camera === null) title = serverAnswers ? "No camera" : "Waiting for the server…";
  else if (age !== null && age >= stale) title = `No new picture for ${Math.floor(age / 1000)} s`;
  else if (age !== null) title = "Reconnecting…";
  else if (camera?.state === "backing_off") title = "Camera not reachable";
  else if (camera?.state === "failed") title = "Camera refuses";
  else if (camera?.state === "stalled") title = "Camera sends no picture";
  setText("veil-title", title);
  setText("veil-detail", player.phase === "ended" ? player.problem : camera?.error || player.problem);
}

function showControls(camera) {
  const note = player.refusal || given(player.showing);
  element("given").hidden = !note;
  setText("given", note);
  element("sound").hidden = !player.hasSound;
  setText("sound", element("video").muted ? "Unmute" : "Mute");
  element("quality").value = player.quality;
  element("quality").disabled = !camera;
  element("quality").querySelector("[value=sub]").disabled = !camera?.renditions.includes("sub");
}

function showFigures() {
  const { latest, rates } = player;
  setText("resolution", latest?.width ? `${latest.width} × ${latest.height}` : "–");
  setText("fps", rates ? `${rates.fps.toFixed(1)} fps` : "–");
  setText("bitrate", rates ? bitrate(rates.bitrate) : "–");
  setText("loss", rates ? `${(rates.lossShare * 100).toFixed(1)} % (${latest.lost})` : "–");
  setText("jitter", rates?.bufferMs != null ? `${rates.bufferMs.toFixed(0)} ms` : "–");
  setText("freezes", latest ? `${latest.freezes} (${seconds(latest.freezesS)})` : "–");
  setText("audio", rates && player.hasSound ? bitrate(rates.audioBitrate) : "–");
}

const PHASES = {
  idle: ["Idle", "wait"],
  connecting: ["Connecting", "wait"],
  playing: ["Session connected", "good"],
  waiting: ["Reconnecting", "bad"],
  ended: ["Ended", "bad"],
};

function show() {
  const camera = cameras.find(({ name }) => name === player.camera);
  setText("title", player.camera ?? "No camera");
  document.title = player.camera ? `${player.camera} – cctv3` : "cctv3";
  setState("session", ...PHASES[player.phase]);
  setText("facts", camera ? cameraFacts(camera) : "");
  if (serverAnswers) setState("server", "Server connected", "good");
  else setState("server", "Server not reachable", "bad");
  showVeil(camera);
  showControls(camera);
  showFigures();
  showList();
}

/** Asks the server in `delayMs`, or sooner if that is planned. */
function pollIn(delayMs) {
  const at = performance.now() + delayMs;
  if (polling !== 0 && pollAt <= at) return;
  clearTimeout(polling);
  pollAt = at;
  polling = setTimeout(watchCameras, delayMs);
}

async function watchCameras() {
  polling = 0;
  try {
    [cameras, player.iceServers] = await Promise.all([
      fetchCameras(),
      iceServersKnown ? player.iceServers : fetchIceServers(),
    ]);
    serverAnswers = true;
    iceServersKnown = true;
    pickFirst();
    const camera = cameras.find(({ name }) => name === player.camera);
    if (camera) player.cameraIs(camera.state, camera.fps, camera.gop_s);
    else player.cameraIsGone();
  } catch (error) {
    if (error.status === 401) location.assign(`login${location.hash}`);
    serverAnswers = false;
    player.cameraIs("unknown");
  }
  show();
  pollIn(POLL_MS);
}

async function showWho() {
  const me = await fetchMe().catch(() => null);
  element("account").hidden = me?.kind !== "user";
  setText("account", me?.name ?? "");
}

element("sound").addEventListener("click", () => {
  element("video").muted = !element("video").muted;
  show();
});
element("quality").addEventListener("change", ({ target }) => player.select(target.value));
addEventListener("hashchange", followAddress);
signaling.addEventListener("away", () => { iceServersKnown = false; });
signaling.addEventListener("open", showWho);
signaling.addEventListener("news", ({ detail }) => {
  if (detail.kind === "camera") pollIn(NEWS_MS);
});
for (const hint of ["pointerover", "focusin"]) {
  element("cameras").addEventListener(hint, () => player.prepare());
}
player.prepare();
signaling.connect();
watchCameras();

// For tests and the curious; nothing here can be written.
window.cctv3 = Object.freeze({
  get camera() { return player.camera; },
  get phase() { return player.phase; },
  get session() { return player.session; },
  get problem() { return player.problem; },
  get moves() { return player.moves; },
  get reconnects() { return player.reconnects; },
  get firstFrameMs() { return player.firstFrameMs; },
  get pictureAgeMs() { return player.lastFrameAt === null ? null : performance.now() - player.lastFrameAt; },
  get framesDecoded() { return player.latest?.frames ?? 0; },
  get width() { return player.latest?.width ?? 0; },
  get height() { return player.latest?.height ?? 0; },
  get lost() { return player.latest?.lost ?? 0; },
  get quality() { return player.quality; },
  get showing() { return player.showing?.showing ?? null; },
  get showingReason() { return player.showing?.reason ?? null; },
  get refusal() { return player.refusal; },
  get hasSound() { return player.hasSound; },
  get muted() { return element("video").muted; },
  get audioPackets() { return player.latest?.audioPackets ?? 0; },
  get freezes() { return player.latest?.freezes ?? 0; },
  get rates() { return player.rates && { ...player.rates }; },
});
