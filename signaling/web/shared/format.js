// Numbers and states as people read them.

import { hasText, t } from "./texts.js";

export function bitrate(bitsPerSecond) {
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

export function seconds(value) {
  return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}

/** A time in ms, in whole seconds or larger units: `7 s`, `3 min`, `2 h`, `4 d`. */
export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
}

/** The age of a picture: `180 ms`, `1.4 s`, `12 s`. */
export function ageText(ms) {
  if (ms < 999.5) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}

/** A share of 0 to 1. */
export function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

const LEVELS = {
  live: "good",
  idle: "wait",
  connecting: "wait",
  stalled: "bad",
  backing_off: "bad",
  failed: "bad",
  down: "bad",
};

/** A camera's state as [words, level]. */
export function cameraState(state) {
  const key = `camera.${state}`;
  return [hasText(key) ? t(key) : state, LEVELS[state] ?? "wait"];
}
