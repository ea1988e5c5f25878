// What keeps a picture from being live, in words for whoever looks, and what to do about it. Pure.

const STILL_MS = 1000; // with the time until it is looked at, a picture that stands still is told within 2 s
const OVERDUE_MS = 2000;
const LONG_WAIT_MS = 1500;
const FULL_WAIT_MS = 2000; // one that only starts a process again asks to come back sooner

/** How long a picture may stand before it is told to be old: three intervals, and never long after the next is due. */
export const patienceMs = (pictureMs) => Math.max(STILL_MS, Math.min(3 * pictureMs, pictureMs + OVERDUE_MS));

const CAMERA_KINDS = {
  backing_off: "offline",
  failed: "refused",
  stalled: "stalled",
  down: "down",
};

/** Of a refused offer: the kind, by its status (as in HTTP). */
const REFUSALS = {
  401: "login",
  403: "forbidden",
  404: "gone",
  406: "unsupported",
};

function kindOf(player, camera, { serverAnswers, isStranger }) {
  const refused = player.phase === "waiting" || player.phase === "connecting";
  if (player.phase === "released") return "released";
  if (isStranger) return "login";
  if (player.phase === "ended") return camera ? "ended" : "gone";
  if (serverAnswers === false && player.session === null) return "away";
  if (serverAnswers && !camera) return "gone";
  if (refused && player.problemStatus in REFUSALS) return REFUSALS[player.problemStatus];
  if (camera && camera.state in CAMERA_KINDS) return CAMERA_KINDS[camera.state];
  if (refused && player.problemStatus === 503 && player.problemWaitMs >= FULL_WAIT_MS) return "full";
  if (serverAnswers === false) return "away";
  const waits = camera?.state === "idle" || camera?.state === "connecting";
  if (player.hasPicture) return waits ? "reconnecting" : "frozen";
  if (player.phase === "waiting" || player.reconnects > 0) return "reconnecting";
  return waits ? "waking" : "connecting";
}

/**
 * Null while the picture is live; else {kind, old, retryMs, detail}.
 *
 * `page` is what the page knows of the server. `old`: a picture is on screen that is not live. `kind` names the
 * words: texts `verdict.KIND.title` and `verdict.KIND.advice`. `detail` is what the camera or the server said.
 */
export function verdict(player, camera, page) {
  const { stillMs } = player;
  const fresh = stillMs !== null && stillMs < patienceMs(player.pictureMs) + player.countedMs;
  // However it is with the session: who plays again within that time shows nothing.
  if (fresh && player.phase !== "released") return null;
  const kind = kindOf(player, camera, page);
  const retryMs = player.phase === "waiting" ? player.retryAt - performance.now() : 0;
  return {
    kind,
    old: stillMs !== null,
    retryMs: retryMs > LONG_WAIT_MS ? retryMs : 0,
    detail: (player.phase !== "ended" && camera?.error) || player.problem,
  };
}
