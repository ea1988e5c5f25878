// The system view: cameras, workers, sessions and events, asked for once a second.

import { fetchCameras, fetchMe, fetchSessions, fetchWorkers } from "../shared/api.js";
import { mark, say } from "../shared/dom.js";
import { duration } from "../shared/format.js";
import { fillTexts, language, t } from "../shared/texts.js";
import { applyTheme } from "../shared/theme.js";
import { Log } from "../panel/log.js";
import { Cameras } from "./cameras.js";
import { Sessions } from "./sessions.js";
import { Workers } from "./workers.js";

const POLL_MS = 1000;
const HIDDEN_POLL_MS = 10_000;

const element = (id) => document.getElementById(id);
let me = null;
let sections = null;
let answeredAt = null; // a Date; null before the first answer
let turn = 0;
let timer = 0;

/** Where to log in, and to come back from. */
function login() {
  const wishes = new URLSearchParams(location.search);
  wishes.set("to", "system");
  return `login?${wishes}`;
}

function begin() {
  const mayLook = me.role !== "viewer";
  element("account").hidden = me.kind !== "user";
  element("account").href = login();
  say(element("account"), me.name);
  element("refused").hidden = mayLook;
  say(element("refused-who"), t("system.refused.who", me));
  element("figures").hidden = !mayLook;
  if (!mayLook) return;
  sections ??= {
    cameras: new Cameras(me.configures, poll),
    workers: new Workers(poll),
    sessions: new Sessions(poll),
    log: new Log(element("events"), { sources: ["server"], role: me.role }),
  };
}

function answered() {
  answeredAt = new Date();
  say(element("server"), t("server.connected"));
  mark(element("server"), "data-level", "good");
  element("stale").hidden = true;
  mark(element("figures"), "data-stale", null);
}

function away() {
  say(element("server"), t("server.away"));
  mark(element("server"), "data-level", "bad");
  if (answeredAt === null) return;
  element("stale").hidden = false;
  // Read out once: the age beside it, which grows, is not.
  say(element("stale-words"), t("system.stale", { time: answeredAt.toLocaleTimeString(language) }));
  say(element("stale-age"), t("system.stale.age", { age: duration(Date.now() - answeredAt) }));
  mark(element("figures"), "data-stale", true);
}

/** Asks for everything and shows it; the next time follows by itself. */
async function poll() {
  clearTimeout(timer);
  turn += 1;
  const mine = turn;
  try {
    if (me === null) {
      me = await fetchMe();
      begin();
    }
    if (me.role !== "viewer") await look(mine);
    else answered();
  } catch (error) {
    if (error.status === 401) location.assign(login());
    if (error.status === 403) me = null; // the role is another one now
    else if (mine === turn) away();
    sections?.cameras.gap();
    sections?.workers.gap();
  }
  if (mine !== turn || me?.role === "viewer") return;
  timer = setTimeout(poll, document.hidden ? HIDDEN_POLL_MS : POLL_MS);
}

async function look(mine) {
  const [cameras, workers, sessions] = await Promise.all([fetchCameras(), fetchWorkers(), fetchSessions()]);
  if (mine !== turn) return;
  answered();
  sections.cameras.update(cameras);
  sections.workers.update(workers);
  sections.sessions.update(sessions);
}

fillTexts();
applyTheme();
document.title = `${t("page.system")} – cctv3`;
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && sections !== null) poll();
});
poll();
