// The menus of the wall's header: saved layouts, language and colours, what keys do.

import { copyButton } from "../shared/copy.js";
import { make } from "../shared/dom.js";
import { keepLanguage, language, languages, t } from "../shared/texts.js";
import { keepTheme, theme } from "../shared/theme.js";
import * as layouts from "./layouts.js";

/**
 * Fills the menu of layouts; `wall` shows them, `apply(name or null)` is called with the choice, `forgotten(name)` when
 * one was removed.
 */
export function fillLayouts(menu, wall, cameras, apply, forgotten) {
  const shown = () => wall.tiles.map(({ camera }) => camera);
  const again = () => {
    fillLayouts(menu, wall, cameras, apply, forgotten);
    menu.querySelector("button").focus(); // what was chosen is not there any more
  };
  const kept = [...layouts.saved().keys()];
  const name = make("input", { name: "name", required: true, pattern: ".*\\S.*", maxlength: 60, "aria-label": t("wall.layouts.name"), placeholder: t("wall.layouts.name") });
  const write = make("button", { class: "primary" }, t("wall.layouts.save"));
  name.addEventListener("input", () => {
    write.textContent = t(kept.includes(name.value.trim()) ? "wall.layouts.replace" : "wall.layouts.save");
  });
  const save = make("form", {
    onsubmit: (event) => {
      event.preventDefault();
      layouts.save(name.value.trim(), { ...wall.layout, cameras: shown() });
      apply(name.value.trim());
      again();
    },
  }, name, write);
  const link = (kiosk) => new URL(layouts.toAddress(wall.layout, shown(), kiosk), location.href).href.split("#")[0];
  const choice = (camera) => make("li", {}, make("label", {}, make("input", {
    type: "checkbox",
    checked: shown().includes(camera),
    onchange: ({ target }) => {
      const others = shown().filter((other) => other !== camera);
      wall.apply({ ...wall.layout, cameras: target.checked ? [...others, camera] : others });
      wall.dispatchEvent(new Event("arranged"));
    },
  }), camera));
  menu.replaceChildren(
    make("h2", {}, t("wall.layouts")),
    make("ul", {},
      make("li", {}, make("button", { type: "button", class: "quiet", onclick: () => { apply(null); again(); } }, t("wall.layouts.all"))),
      ...kept.map((each) => make("li", {},
        make("button", { type: "button", class: "quiet", onclick: () => { apply(each); again(); } }, each),
        make("button", {
          type: "button", class: "quiet", "aria-label": `${t("wall.layouts.remove")}: ${each}`,
          onclick: () => { layouts.forget(each); forgotten(each); again(); },
        }, t("wall.layouts.remove")),
      )),
    ),
    save,
    make("div", { class: "links" },
      copyButton(t("wall.layouts.link"), () => link(false)),
      make("button", { type: "button", onclick: () => location.assign(link(true)) }, t("wall.layouts.kiosk")),
    ),
    make("hr"),
    make("h2", {}, t("wall.layouts.cameras")),
    make("ul", {}, ...cameras.map(choice)),
  );
}

/** Fills the menu of language and colours; `account`: {name, kind} or null. */
export function fillSettings(menu, account) {
  const choose = (label, options, value, onchange) => make("label", { class: "row" }, t(label), make(
    "select", { onchange: ({ target }) => onchange(target.value) },
    ...options.map(([key, words]) => make("option", { value: key, selected: key === value }, words)),
  ));
  menu.replaceChildren(
    choose("page.theme", ["auto", "light", "dark"].map((key) => [key, t(`page.theme.${key}`)]),
      theme(), keepTheme),
    choose("page.language", Object.entries(languages), language, (wish) => {
      const address = new URL(location.href);
      if (keepLanguage(wish)) address.searchParams.delete("lang"); // it would win over the choice
      else address.searchParams.set("lang", wish);
      history.replaceState(history.state, "", address);
      location.reload();
    }),
    account?.kind === "user"
      ? make("p", { class: "row" }, make("a", { href: `login${location.search}${location.hash}` }, account.name))
      : "",
  );
}

const KEYS = [
  [["←", "→", "↑", "↓"], "move"],
  [["Enter", "Esc"], "enlarge"],
  [["Alt + ←", "Alt + →"], "order"],
  [["+", "−", "0"], "zoom"],
  [["m", "s", "r", "p", "f", "i", "w", "l"], "tile"],
  [["1", "2", "3", "4", "a"], "grid"],
];

/** Fills the dialog that says what keys do. */
export function fillHelp(dialog) {
  dialog.replaceChildren(
    make("h2", { id: "help-title" }, t("wall.help")),
    make("dl", {}, ...KEYS.flatMap(([keys, what]) => [
      make("dt", {}, ...keys.flatMap((key) => [make("kbd", {}, key), " "])),
      make("dd", {}, t(`wall.help.${what}`)),
    ])),
    make("form", { method: "dialog" }, make("button", { autofocus: true }, t("page.close"))),
  );
}
