// The wall page: header, tiles, side panel, and the address that says which of them are shown.

import { LivePage } from "../media/page.js";
import { journal } from "../media/journal.js";
import { Panel } from "../panel/panel.js";
import { canRecord, Recorder } from "../replay/recorder.js";
import { fetchMe, useToken } from "../shared/api.js";
import { icon, make, mark, say } from "../shared/dom.js";
import { fillTexts, t } from "../shared/texts.js";
import { applyTheme } from "../shared/theme.js";
import { factsOf } from "../tile/facts.js";
import { followKeys } from "./keys.js";
import * as layouts from "./layouts.js";
import { fillHelp, fillLayouts, fillSettings } from "./menus.js";
import { startKiosk } from "./kiosk.js";
import { Wall } from "./wall.js";

const GRIDS = [1, 4, 9, 16, "auto"];
const PANEL_MS = 1000;
const SCREEN = "_screen"; // no camera is called so
const OPERATORS = ["operator", "admin"];

const element = (id) => document.getElementById(id);
const page = new LivePage(canRecord ? new Recorder() : null);
const wall = new Wall(page, element("wall"), element("spoken"));
const address = layouts.fromAddress(location.search);
let me = null;
let panel = null;
let panelTile = null; // that it is about
let followed = false; // the address, as it was at first
let goingBack = false; // asked of the browser, which does so a little later

/** The layout that is shown by name, or null: all cameras, as this browser keeps them, or what the address says. */
let layoutName = address.layout === null ? null : address.name;
let saidByAddress = address.layout !== null && address.name === null;

function nameInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || null;
  } catch {
    return null;
  }
}

/** Fills the wall with a camera, or shows all again; the browser's way back does so too. */
function enlarge(camera) {
  const before = wall.large;
  if (camera === (before?.camera ?? null)) return;
  wall.enlarge(camera);
  if (!goingBack) sayInAddress(before !== null);
}

/** Makes the address tell which camera fills the wall; with one that another has replaced, no step back is added. */
function sayInAddress(isReplaced) {
  if (address.kiosk) return; // who opens it again needs the token that stands there
  const here = location.pathname + location.search;
  if (wall.large) {
    const there = `${here}#${encodeURIComponent(wall.large.camera)}`;
    if (isReplaced) history.replaceState(history.state, "", there);
    else history.pushState({ enlarged: true }, "", there);
  } else if (history.state?.enlarged) {
    goingBack = true;
    history.back();
  } else {
    history.replaceState(null, "", here);
  }
}

function followAddress() {
  // Whatever was chosen while the browser went back counts; a second step back would leave the page.
  if (goingBack) {
    goingBack = false;
    if (wall.large) sayInAddress(false);
    return;
  }
  const camera = nameInAddress();
  if (camera === SCREEN) return; // the way past the header
  wall.enlarge(camera);
}

function applyLayout(name) {
  const layout = name === null ? { ...layouts.lastWall(), cameras: null } : layouts.saved().get(name);
  if (!layout) return;
  layoutName = name;
  saidByAddress = false;
  const wishes = new URLSearchParams(name === null ? {} : { layout: name });
  if (address.kiosk) wishes.set("kiosk", "");
  history.replaceState(null, "", `${location.pathname}${wishes.size ? `?${wishes}` : ""}`);
  wall.enlarge(null);
  wall.apply(layout);
  keepLayout();
  showGrids();
}

function keepLayout() {
  if (layoutName !== null) layouts.save(layoutName, wall.layout);
  else if (!saidByAddress) layouts.keepWall(wall.layout);
}

function chooseGrid(grid) {
  enlarge(null);
  wall.apply({ ...wall.layout, grid });
  keepLayout();
  showGrids();
}

function showGrids() {
  for (const button of element("grids").children) {
    mark(button, "aria-pressed", String(button.dataset.grid === String(wall.layout.grid)));
  }
}

function showServer() {
  const { serverAnswers } = page;
  const key = serverAnswers === null ? "server.connecting" : serverAnswers ? "server.connected" : "server.away";
  say(element("server"), t(key));
  element("server").dataset.level = serverAnswers === null ? "wait" : serverAnswers ? "good" : "bad";
}

/** Says why there is no tile; on a wall monitor nobody sees the header. */
function showNothing() {
  const why = page.isStranger ? "verdict.login" : page.serverAnswers ? "wall.none" : "verdict.away";
  element("nothing").hidden = wall.tiles.length > 0 || page.serverAnswers === null;
  say(element("nothing-title"), t(why === "wall.none" ? why : `${why}.title`));
  say(element("nothing-advice"), t(`${why}.advice`));
}

function showTitle() {
  document.title = wall.large ? `${wall.large.camera} – cctv3` : "cctv3";
}

/** Shows the side panel with one of its tabs, about the chosen tile; hides it where that is there already. */
function showPanel(tab) {
  panel ??= new Panel(element("panel"), { signaling: page.signaling, role: me?.role ?? "viewer" });
  const tile = wall.chosen;
  if (panel.tab === tab && (tab === "log" || tile === panelTile)) {
    panel.hide();
    return;
  }
  panelTile = tile;
  panel.show(tab, tile?.player ?? null, tile?.info ?? null);
}

function updatePanel() {
  if (!panel?.tab) return;
  panelTile = wall.chosen;
  panel.show(panel.tab, panelTile?.player ?? null, panelTile?.info ?? null);
  panel.update();
}

function action(face, key, act, pressed = undefined) {
  const button = make("button", {
    type: "button", class: "quiet bare", title: t(key), "aria-label": t(key), "aria-pressed": pressed, onclick: act,
  }, icon(face));
  element("actions").append(button);
  return button;
}

function fillHeader() {
  for (const grid of GRIDS) {
    element("grids").append(make("button", {
      type: "button", data: { grid }, onclick: () => chooseGrid(grid),
    }, grid === "auto" ? t("wall.grid.auto") : String(grid)));
  }
  const overlay = action("info", "wall.overlay", () => {
    const shown = overlay.getAttribute("aria-pressed") !== "true";
    mark(overlay, "aria-pressed", String(shown));
    wall.overlay = shown;
  }, "false");
  action("chart", "tile.statistics", () => showPanel("statistics"));
  action("log", "wall.log", () => showPanel("log"));
  if (document.fullscreenEnabled) {
    action("full", "wall.full", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else document.documentElement.requestFullscreen().catch(() => {});
    });
  }
  action("why", "wall.help", () => showHelp());
  const settings = action("settings", "wall.menu", () => {});
  settings.setAttribute("popovertarget", "settings");
}

function showHelp() {
  fillHelp(element("help"));
  element("help").showModal();
}

/** Puts a menu below the button that opened it. */
function placeMenu(menu, button) {
  const box = button.getBoundingClientRect();
  const left = Math.min(box.left, innerWidth - menu.offsetWidth - 8);
  menu.style.top = `${box.bottom + 6}px`;
  menu.style.left = `${Math.max(8, left)}px`;
}

async function showWho() {
  me = await fetchMe().catch(() => me);
  element("to-system").hidden = !OPERATORS.includes(me?.role);
}

fillTexts();
applyTheme();
fillHeader();
showServer();
if (address.kiosk) {
  // Nobody is there to log in: a token in the address says whose wall it is.
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) useToken(token);
  startKiosk(wall);
}
if (address.layout) wall.apply(address.layout);
else wall.apply(layouts.lastWall());
showGrids();

page.addEventListener("listed", ({ detail }) => {
  wall.list(detail);
  if (!followed && nameInAddress()) followAddress();
  followed = true;
  showNothing();
  showServer();
});
page.addEventListener("unlisted", () => {
  wall.unlisted();
  showNothing();
  showServer();
});
page.addEventListener("stranger", () => {
  if (!address.kiosk) location.assign(`login${location.search}${location.hash}`);
});
page.signaling.addEventListener("open", showWho);
wall.addEventListener("enlarge", ({ detail }) => enlarge(detail));
wall.addEventListener("arranged", keepLayout);
wall.addEventListener("change", showTitle);
wall.addEventListener("why", () => showPanel("why"));
wall.addEventListener("statistics", () => showPanel("statistics"));
addEventListener("popstate", followAddress);
addEventListener("hashchange", followAddress);
followKeys(wall, { enlarge, grid: chooseGrid, show: showPanel, help: showHelp });
element("layouts").addEventListener("beforetoggle", ({ newState }) => {
  if (newState !== "open") return;
  fillLayouts(element("layouts"), wall, page.cameras.map(({ name }) => name), applyLayout, (name) => {
    if (name === layoutName) layoutName = null; // what is shown is kept as the wall of this browser
  });
});
element("layouts").addEventListener("toggle", () => placeMenu(element("layouts"), element("layouts-button")));
element("settings").addEventListener("beforetoggle", ({ newState }) => {
  if (newState === "open") fillSettings(element("settings"), me);
});
element("settings").addEventListener("toggle", () => {
  placeMenu(element("settings"), document.querySelector("[popovertarget=settings]"));
});
setInterval(updatePanel, PANEL_MS);
page.start();

// For tests and the curious; nothing here can be written.
window.cctv3 = Object.freeze({
  get chosen() { return factsOf(wall.chosen); },
  get tiles() { return wall.tiles.map(factsOf); },
  get large() { return wall.large?.camera ?? null; },
  get video() { return wall.chosen?.video ?? null; },
  get clockUncertaintyMs() { return page.serverClock.uncertaintyMs; },
  get journal() { return [...journal.entries]; },
});
