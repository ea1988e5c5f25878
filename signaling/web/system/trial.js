// What a camera answered when it was tried: its picture, what it sends, and what to set in it.

import { make } from "../shared/dom.js";
import { bitrate, seconds } from "../shared/format.js";
import { t } from "../shared/texts.js";
import { isKnown, number } from "./words.js";

const SAME_CLOCK_S = 0.1;

/** The answer of `POST api/v1/probe` for one stream, `main` or `sub`, as an element. */
export async function showTrial(stream, { works, error, report, advice, picture }) {
  const level = works ? "good" : "bad";
  const found = facts(report);
  return make(
    "section",
    { class: "trial" },
    make(
      "h3",
      {},
      t(`admin.stream.${stream}`),
      make("span", { class: "state", data: { level } }, t(works ? "admin.works" : "admin.works_not")),
    ),
    error ? make("p", { class: "problem" }, error) : null,
    picture ? await drawn(picture) : null,
    found.length ? make("dl", {}, ...found.map(([key, value]) => make("div", {}, make("dt", {}, t(key)), make("dd", {}, value)))) : null,
    advice.length ? make("ul", { class: "advice" }, ...advice.map((sentence) => make("li", {}, sentence))) : null,
  );
}

/** A JPEG on a canvas: pictures from `data:` addresses are not let in here. */
async function drawn(base64) {
  const octets = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([octets], { type: "image/jpeg" }));
  const canvas = make("canvas", { width: bitmap.width, height: bitmap.height, role: "img", "aria-label": t("admin.picture") });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

function facts({ video, audio, via, clock_offset_s: offset, first_frame_s: first }) {
  const found = [];
  const add = (key, value, words) => {
    if (isKnown(value)) found.push([`admin.fact.${key}`, words(value)]);
  };
  add("video", video?.codec, (codec) => [codec, video.profile].filter(Boolean).join(" "));
  add("size", video?.width, (width) => `${width} × ${video.height}`);
  add("fps", video?.fps, (fps) => t("system.per_second", { count: number(fps, 1) }));
  add("bitrate", video?.bitrate, bitrate);
  add("gop", video?.gop_s, (gop) => t("admin.fact.every", { seconds: seconds(gop) }));
  add("b_frames", video?.b_frames, (has) => t(has ? "admin.yes" : "admin.no"));
  if (video) found.push(["admin.fact.sound", audio ? `${audio.codec}, ${number(audio.clock_rate / 1000, 1)} kHz` : t("admin.no")]);
  add("via", via, (words) => words);
  add("first", first, seconds);
  add("clock", offset, clock);
  return found;
}

function clock(offset) {
  if (Math.abs(offset) < SAME_CLOCK_S) return t("admin.clock.same");
  return t(offset > 0 ? "admin.clock.ahead" : "admin.clock.behind", { seconds: seconds(Math.abs(offset)) });
}
