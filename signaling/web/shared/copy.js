// A button that puts a text on the clipboard.

import { icon, make, say } from "./dom.js";
import { t } from "./texts.js";

const SAID_MS = 3000;

/** `label` names the button, `text()` gives what is copied. */
export function copyButton(label, text) {
  const area = make("textarea", { readonly: true, hidden: true, rows: 5, "aria-label": label });
  const said = make("span", { class: "note", role: "status" });
  let timer = 0;

  const copied = () => {
    area.hidden = true;
    say(said, t("page.copied"));
    clearTimeout(timer);
    timer = setTimeout(() => say(said, ""), SAID_MS);
  };

  // Pages without TLS have no clipboard API.
  const copyByHand = (value) => {
    area.value = value;
    area.hidden = false;
    area.select();
    if (document.execCommand("copy")) copied();
    else say(said, t("page.copy_by_hand"));
  };

  const copy = async () => {
    const value = text();
    try {
      await navigator.clipboard.writeText(value);
      copied();
    } catch {
      copyByHand(value);
    }
  };

  const button = make("button", { type: "button", onclick: copy }, icon("copy"), label);
  return make("div", { class: "copy" }, button, said, area);
}
