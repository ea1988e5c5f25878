// Logging in and out. The session cookie is the server's; nothing is kept here.
// What to go back to is in the address: `to` names a page other than the wall, and the rest of it belongs to the page.

import { ask, fetchMe, Refused } from "./shared/api.js";
import { fillTexts, t } from "./shared/texts.js";
import { applyTheme } from "./shared/theme.js";

const TIMEOUT_MS = 10_000; // a server under load takes its time for passwords
const PAGES = ["system"]; // nothing else is gone to, whatever somebody has written into a link

const element = (id) => document.getElementById(id);

/** The page that wanted a login, null for the wall. */
const asked = () => PAGES.find((page) => page === new URLSearchParams(location.search).get("to")) ?? null;

/** The address to go back to; relative, so that any path prefix of a proxy works. */
function home() {
  const wishes = new URLSearchParams(location.search);
  if (!wishes.has("to")) return `./${location.search}${location.hash}`;
  wishes.delete("to");
  return `./${asked() ?? ""}${wishes.size ? `?${wishes}` : ""}${location.hash}`;
}

function refuse(text) {
  element("refused").textContent = text;
  element("refused").hidden = !text;
}

function reason(error) {
  if (!(error instanceof Refused)) return t("server.silent");
  const { message, retryAfterS: wait } = error;
  return wait > 0 ? `${message} (${t("login.again", { wait })})` : message;
}

async function logIn(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const [user, password] = [element("name").value, element("password").value];
  button.disabled = true;
  refuse("");
  try {
    await ask("POST", "api/v1/login", { body: { user, password }, timeoutMs: TIMEOUT_MS });
    location.replace(home());
  } catch (error) {
    refuse(reason(error));
    if (error instanceof Refused) {
      element("password").value = "";
      element("password").focus();
    }
  } finally {
    button.disabled = false;
  }
}

async function logOut() {
  await ask("POST", "api/v1/logout", { timeoutMs: TIMEOUT_MS }).catch(() => null);
  location.reload();
}

async function start() {
  let known = null;
  try {
    known = await fetchMe();
  } catch (error) {
    if (!(error instanceof Refused)) refuse(reason(error));
  }
  element("known").hidden = !known;
  element("login").hidden = Boolean(known);
  if (!known) {
    element("name").focus();
    return;
  }
  element("known-title").textContent = known.name;
  element("logout").hidden = known.kind !== "user";
  element("back").href = home();
  if (asked() !== null) element("back").textContent = t(`page.${asked()}`);
}

fillTexts();
applyTheme();
document.title = `${t("page.login")} – cctv3`;
element("login").addEventListener("submit", logIn);
element("logout").addEventListener("click", logOut);
start();
