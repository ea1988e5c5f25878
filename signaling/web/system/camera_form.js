// The dialog in which an admin makes or changes a camera: tried first, then saved.

import { ask, Refused } from "../shared/api.js";
import { make, mark, say } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { showTrial } from "./trial.js";
import { reason } from "./words.js";

const TRY_TIMEOUT_MS = 30_000;
const SAVE_TIMEOUT_MS = 10_000;
const NEW = { url: "", sub: null, on_demand: false, transport: "auto", verify_tls: true, audio: true, credentials: false };
const TRANSPORTS = ["auto", ["tcp"], ["udp"], ["multicast"], ["http"]];

const element = (id) => document.getElementById(`camera-${id}`);
const path = (name) => `api/v1/cameras/${encodeURIComponent(name)}`;

/** A camera's settings as they are stored, without its login, and their entity tag. */
export async function settingsOf(name) {
  const response = await ask("GET", path(name));
  return { settings: await response.json(), etag: response.headers.get("ETag") };
}

/** What of the wish decides whether there is a picture. */
const essence = ({ url, sub, transport, verify_tls, credentials }) =>
  JSON.stringify([url, sub, transport, verify_tls, credentials]);

export class CameraForm {
  #dialog = element("dialog");
  #name = null; // of the camera that is changed; null while one is made
  #etag = null;
  #stored = null; // the essence of what is stored: it needs no try
  #hasStoredSub = false;
  #tried = null; // {essence, works} of the last try
  #trying = null; // the essence of a try that is under way
  #saving = null; // the wish of a save that is under way
  #saved;
  #failed;

  /** `saved(name)` is called when a camera has been made or changed; `failed(name, error)` when nobody sees it here. */
  constructor(saved, failed) {
    this.#saved = saved;
    this.#failed = failed;
    element("form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (event.submitter === element("try")) this.#try();
      else this.#save();
    });
    element("form").addEventListener("input", () => this.#show());
    element("anyway").addEventListener("click", () => {
      if (element("form").reportValidity()) this.#save();
    });
    element("theirs").addEventListener("click", () => this.change(this.#name).catch((error) => this.#refuse(error)));
    element("cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => { this.#trying = this.#saving = null; });
  }

  /** Opens it for a new camera. */
  add() {
    this.#name = this.#etag = this.#stored = null;
    this.#open({ name: "", ...NEW });
    element("name").focus();
  }

  /** Opens it for one that is there, with what is stored now; throws when that cannot be read. */
  async change(name) {
    const { settings, etag } = await settingsOf(name);
    this.#name = name;
    this.#etag = etag;
    this.#stored = null;
    this.#open(settings);
    this.#stored = essence(this.#wish());
    this.#show();
    element("url").focus();
  }

  #open(settings) {
    this.#tried = this.#trying = this.#saving = null;
    this.#hasStoredSub = settings.sub !== null;
    element("trial").replaceChildren();
    say(element("title"), this.#name === null ? t("admin.add") : t("admin.change_of", settings));
    element("name").value = settings.name;
    element("name").readOnly = this.#name !== null;
    element("name-hint").hidden = this.#name !== null;
    element("url").value = settings.url;
    element("sub").value = settings.sub ?? "";
    element("on-demand").checked = settings.on_demand;
    element("verify-tls").checked = settings.verify_tls;
    element("audio").checked = settings.audio;
    element("credentials").checked = settings.credentials;
    element("stored-login").hidden = !settings.credentials;
    const chosen = JSON.stringify(settings.transport);
    const offered = TRANSPORTS.map((each) => JSON.stringify(each));
    if (!offered.includes(chosen)) offered.push(chosen);
    element("transport").replaceChildren(...offered.map((value) => make("option", { value }, transportWords(JSON.parse(value)))));
    element("transport").value = chosen;
    this.#refuse(null);
    this.#show();
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #wish() {
    return {
      url: element("url").value.trim(),
      sub: element("sub").value.trim() || null,
      on_demand: element("on-demand").checked,
      transport: JSON.parse(element("transport").value),
      verify_tls: element("verify-tls").checked,
      audio: element("audio").checked,
      credentials: element("credentials").checked,
    };
  }

  #show() {
    const now = essence(this.#wish());
    const isTried = this.#tried?.essence === now;
    const isTrying = this.#trying === now;
    const works = now === this.#stored || (isTried && this.#tried.works);
    const isSaving = this.#saving !== null;
    element("try").disabled = isTrying;
    say(element("try"), t(isTrying ? "admin.trying" : "admin.try"));
    mark(element("try"), "class", works ? null : "primary");
    element("save").disabled = !works || isSaving;
    mark(element("save"), "class", works ? "primary" : null);
    element("anyway").hidden = works || !isTried;
    element("anyway").disabled = isSaving;
    element("trial").hidden = !isTried && !isTrying;
    say(element("trial-state"), isTrying ? t("admin.trying.text") : "");
  }

  async #try() {
    const wish = this.#wish();
    const now = essence(wish);
    this.#trying = now;
    this.#refuse(null);
    element("trial").replaceChildren();
    this.#show();
    try {
      const works = (await this.#tryStream("main", wish, now)) && (wish.sub === null || (await this.#trySub(wish, now)));
      if (this.#trying === now) this.#tried = { essence: now, works };
    } catch (error) {
      if (this.#trying !== now) return;
      // What the server does not understand it would not save either.
      this.#tried = error.status === 422 ? null : { essence: now, works: false };
      this.#refuse(error);
    }
    if (this.#trying !== now) return;
    this.#trying = null;
    this.#show();
    element("trial").scrollIntoView({ block: "nearest" });
  }

  /** After the main stream: a wrong password counts once, and many cameras lock accounts. */
  #trySub(wish, now) {
    const credentials = wish.credentials && this.#hasStoredSub;
    return this.#tryStream("sub", { ...wish, url: wish.sub, sub: null, credentials }, now);
  }

  async #tryStream(stream, wish, now) {
    const body = this.#name === null ? wish : { ...wish, name: this.#name };
    const result = await (await ask("POST", "api/v1/probe", { body, timeoutMs: TRY_TIMEOUT_MS })).json();
    const shown = await showTrial(stream, result);
    if (this.#trying === now) element("trial").append(shown);
    return result.works;
  }

  async #save() {
    const name = element("name").value;
    const headers = this.#name === null ? { "If-None-Match": "*" } : { "If-Match": this.#etag };
    const wish = this.#wish();
    this.#saving = wish;
    this.#refuse(null);
    this.#show();
    let refusal = null;
    try {
      await ask("PUT", path(name), { body: wish, headers, timeoutMs: SAVE_TIMEOUT_MS });
    } catch (error) {
      refusal = error;
    }
    // It may be closed by now, and open again for another camera.
    const isSeen = this.#saving === wish;
    if (isSeen) {
      this.#saving = null;
      if (refusal === null) this.#dialog.close();
      else this.#refuse(refusal);
      this.#show();
    }
    if (refusal === null) await this.#saved(name);
    else if (!isSeen) this.#failed(name, refusal);
  }

  /** Shows why it cannot be saved or tried; null: nothing stands against it. */
  #refuse(error) {
    const isChanged = error instanceof Refused && error.status === 412 && this.#name !== null;
    say(element("problem"), error === null ? "" : isChanged ? t("admin.changed_meanwhile") : reason(error));
    element("theirs").hidden = !isChanged;
  }
}

function transportWords(transport) {
  if (transport === "auto") return t("admin.transport.auto");
  return transport.map((each) => t(`admin.transport.${each}`)).join(", ");
}
