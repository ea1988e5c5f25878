// A question before something is done that others notice; what the server says against it is shown in place.

import { make, say } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { reason } from "./words.js";

/**
 * Asks, and on consent awaits `run()`; true when that was done. `text` says what happens, `button` what is done;
 * `kind` is "danger" unless it is done without harm: "primary".
 */
export function confirm({ title, text, button, run, kind = "danger" }) {
  const refused = make("p", { class: "problem", role: "alert" });
  const go = make("button", { type: "button", class: kind }, button);
  const leave = make("button", { type: "button" }, t("page.cancel"));
  const dialog = make(
    "dialog",
    { class: "confirm", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" },
    make("h2", { id: "confirm-title" }, title),
    make("p", { id: "confirm-text" }, text),
    refused,
    make("div", { class: "actions" }, leave, go),
  );
  let done = false;
  leave.addEventListener("click", () => dialog.close());
  go.addEventListener("click", async () => {
    go.disabled = true;
    say(refused, "");
    try {
      await run();
      done = true;
      dialog.close();
    } catch (error) {
      say(refused, reason(error));
      go.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  leave.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
  });
}
