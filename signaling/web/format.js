// Numbers and states as people read them.

export function bitrate(bitsPerSecond) {
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

export function seconds(value) {
  return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}

const CAMERA_STATES = {
  live: ["Live", "good"],
  idle: ["On demand", "wait"],
  connecting: ["Connecting", "wait"],
  stalled: ["No picture arrives", "bad"],
  backing_off: ["Not reachable", "bad"],
  failed: ["Refused", "bad"],
  down: ["Process down", "bad"],
};

/** A camera's state as [words, level]. */
export function cameraState(state) {
  return CAMERA_STATES[state] ?? [state, "wait"];
}

const GIVEN = { sub: "Sub stream", keyframes: "Keyframes only" };

/** What a viewer is given and why, unless it is the main stream. */
export function given(showing) {
  const words = GIVEN[showing?.showing];
  return words ? `${words}: ${showing.reason}` : "";
}

/** What the camera sends, in one line. */
export function cameraFacts(camera) {
  const parts = [];
  if (camera.codec) parts.push(camera.profile ? `${camera.codec} ${camera.profile}` : camera.codec);
  if (camera.width && camera.height) parts.push(`${camera.width} × ${camera.height}`);
  if (camera.fps) parts.push(`${camera.fps.toFixed(camera.fps < 10 ? 1 : 0)} fps`);
  if (camera.bitrate) parts.push(bitrate(camera.bitrate));
  if (camera.gop_s) parts.push(`keyframe every ${seconds(camera.gop_s)}`);
  return parts.join(" · ");
}
