// Logging in and out. The session cookie is the server's; nothing is kept here.
// Addresses are relative, so that any path prefix of a proxy works; what to go back to is in query and hash.

import { fillTexts, t } from "./shared/texts.js";
import { applyTheme } from "./shared/theme.js";

const TIMEOUT_MS = 10_000; // a server under load takes its time for passwords

const element = (id) => document.getElementById(id);

async function ask(method, path, content) {
  return fetch(path, {
    method,
    cache: "no-store",
    headers: content ? { "Content-Type": "application/json" } : {},
    body: content ? JSON.stringify(content) : undefined,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}

const home = () => `./${location.search}${location.hash}`;

function refuse(text) {
  element("refused").textContent = text;
  element("refused").hidden = !text;
}

/** What the server's refusal says (RFC 9457). */
async function reason(response) {
  const { detail } = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get("Retry-After"));
  const said = detail ?? `the server answers ${response.status}`;
  return wait > 0 ? `${said} (${t("login.again", { wait })})` : said;
}

async function logIn(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const [user, password] = [element("name").value, element("password").value];
  button.disabled = true;
  refuse("");
  try {
    const response = await ask("POST", "api/v1/login", { user, password });
    if (response.ok) {
      location.replace(home());
      return;
    }
    refuse(await reason(response));
    element("password").value = "";
    element("password").focus();
  } catch {
    refuse(t("login.silent"));
  } finally {
    button.disabled = false;
  }
}

async function logOut() {
  await ask("POST", "api/v1/logout").catch(() => null);
  location.reload();
}

async function start() {
  let known = null;
  try {
    const response = await ask("GET", "api/v1/me");
    if (response.ok) known = await response.json();
  } catch {
    refuse(t("login.silent"));
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
}

fillTexts();
applyTheme();
document.title = `${t("page.login")} – cctv3`;
element("login").addEventListener("submit", logIn);
element("logout").addEventListener("click", logOut);
start();
