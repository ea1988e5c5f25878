// Where a picture is held up: each step of its way from the camera to this screen, judged by what is known of it.
// Pure: everything comes as arguments.

import { ageText, bitrate, percent, seconds } from "../shared/format.js";
import { hasText, t } from "../shared/texts.js";

const LONG_GOP_S = 4; // as the server advises (ingest/advice.py)
const FEW_FPS = 5;
const JITTER_S = 0.1;
const SILENT_S = 2;
const REPORT_S = 3; // an ingest reports every second
const FULL_CPU = 0.9;
const LATE_LOOP_S = 0.1; // two or three frames late
const LOSS = 0.02;
const HEAVY_LOSS = 0.1;
const FAR_MS = 300;
const OLD_MS = 1000;
const DROPPED_SHARE = 0.05;
const STILL_MS = 2000;
const WINDOW_MS = 3000; // less tells nothing of what stands still
const MANY_VIDEOS = 9; // for a decoder in software

const RANK = { bad: 3, warn: 2, unknown: 1, good: 0 };

const finding = (verdict, text, advice = null) => ({ verdict, text, advice });

/** A finding in the words of `why.KEY`, with the advice of `why.KEY.advice` where there is one. */
function found(verdict, key, values = {}) {
  const advice = `why.${key}.advice`;
  return finding(verdict, t(`why.${key}`, values), hasText(advice) ? t(advice, values) : null);
}

const fact = (label, value, show = String) =>
  value === null || value === undefined ? null : [t(`why.fact.${label}`), show(value)];

const ago = (value) => t("why.ago", { seconds: seconds(value) });
const perSecond = (value) => value.toFixed(value < 10 ? 1 : 0);
const yesOrNo = (value) => t(value ? "why.yes" : "why.no");

/** How much a count grew since the reading before; null where that is not known. */
function growth(now, before) {
  if (now === null || now === undefined || before === null || before === undefined) return null;
  return Math.max(now - before, 0);
}

/** A count, and beside it what it grew by. */
function counted(label, now, grown, span) {
  const recent = grown > 0 ? t("why.recent", { count: grown, seconds: span }) : "";
  return fact(label, now, (count) => (recent ? `${count} (${recent})` : String(count)));
}

function ofCamera({ camera, diagnosis, local, player, failure, before, span }) {
  const report = diagnosis?.camera ?? camera;
  if (!report) {
    return { found: failure?.status === 404 ? [finding("bad", failure.message, t("why.camera.gone.advice"))] : [] };
  }
  const listed = [];
  const lost = growth(report.lost_packets, before?.diagnosis?.camera?.lost_packets);
  const damaged = growth(report.damaged, before?.diagnosis?.camera?.damaged);
  if (report.state === "idle" || report.state === "down") {
    listed.push(found("unknown", `camera.${report.state}`));
  } else if (report.state === "connecting" || report.state === "stalled") {
    listed.push(found("bad", `camera.${report.state}`));
  } else if (report.state !== "live") {
    // What the camera said stands before anything of ours.
    listed.push(found("bad", `camera.${report.state}`, { error: report.error ?? "" }));
  }
  const { codec } = report;
  if (codec && codec !== "H264" && codec !== "H265") {
    listed.push(found("bad", "camera.unplayable", { codec }));
  } else if (codec && local.decodes.length > 0 && !local.decodes.includes(codec)) {
    const other = !player.session && camera?.renditions?.includes("sub");
    listed.push(found(other ? "warn" : "bad", "camera.not_here", { codec }));
  }
  if (report.state === "live") {
    if (report.gop_s > LONG_GOP_S) listed.push(found("warn", "camera.gop", { seconds: seconds(report.gop_s) }));
    if (report.b_frames) listed.push(found("warn", "camera.b_frames"));
    if (report.fps > 0 && report.fps < FEW_FPS) {
      listed.push(found("warn", "camera.fps", { fps: perSecond(report.fps) }));
    }
    if (lost > 0) listed.push(found("warn", "camera.lost", { count: lost, seconds: span }));
    if (lost === 0 && damaged > 0) listed.push(found("warn", "camera.damaged", { count: damaged, seconds: span }));
    if (report.jitter_s > JITTER_S) {
      listed.push(found("warn", "camera.jitter", { jitter: ageText(report.jitter_s * 1000) }));
    }
  }
  return {
    known: true,
    found: listed,
    advice: report.advice ?? [], // the server's, of all that it measures of the camera
    facts: [
      fact("state", report.state, (state) => t(`camera.${state}`)),
      fact("since", report.state_s, seconds),
      fact("error", report.error),
      fact("stream", report.rendition, (name) => t(`panel.given.${name}`)),
      fact("via", report.via),
      fact("codec", codec, (name) => [name, report.profile].filter(Boolean).join(" ")),
      fact("size", report.width, (width) => `${width} × ${report.height}`),
      fact("fps", report.fps, (fps) => `${perSecond(fps)} fps`),
      fact("bitrate", report.bitrate, bitrate),
      fact("gop", report.gop_s, seconds),
      fact("b_frames", report.b_frames, yesOrNo),
      counted("lost", report.lost_packets, lost, span),
      counted("damaged", report.damaged, damaged, span),
      fact("jitter", report.jitter_s, (jitter) => ageText(jitter * 1000)),
      fact("clock_offset", report.clock_offset_s, (offset) => seconds(Math.abs(offset) < 0.05 ? 0 : offset)),
      fact("last_picture", report.last_access_unit_age_s ?? report.age, ago),
      fact("reconnects", report.reconnects),
    ],
  };
}

function ofIngest({ camera, diagnosis }) {
  const ingest = diagnosis?.ingest;
  const up = ingest ? ingest.up : camera ? camera.state !== "down" : null;
  const listed = [];
  if (up === false) listed.push(found("bad", "ingest.down"));
  else if (ingest?.age_s > REPORT_S) listed.push(found("warn", "ingest.late", { seconds: seconds(ingest.age_s) }));
  return {
    known: up !== null,
    found: listed,
    facts: [fact("up", up, yesOrNo), fact("report_age", ingest?.age_s, ago)],
  };
}

function ofBus({ diagnosis, before, span }, blocked) {
  const bus = diagnosis?.bus;
  if (!bus) return {};
  const age = bus.last_access_unit_age_s;
  const gaps = growth(bus.gaps, before?.diagnosis?.bus?.gaps);
  const fps = diagnosis.camera?.fps;
  const listed = [];
  if (age === null || age > Math.max(SILENT_S, fps > 0 ? 3 / fps : 0)) {
    if (blocked) listed.push(found("unknown", "after"));
    else if (age === null) listed.push(found("bad", "bus.nothing"));
    else listed.push(found("bad", "bus.silent", { seconds: seconds(age) }));
  } else if (!bus.keyframe_cached) {
    listed.push(found("bad", "bus.keyframe", { seconds: seconds(diagnosis.camera?.gop_s ?? LONG_GOP_S) }));
  }
  if (gaps > 0) listed.push(found("warn", "bus.gaps", { count: gaps, seconds: span }));
  return {
    known: true,
    found: listed,
    facts: [
      fact("last_picture", age, ago),
      counted("gaps", bus.gaps, gaps, span),
      fact("keyframe_cached", bus.keyframe_cached, yesOrNo),
    ],
  };
}

function ofWorker({ diagnosis, player }, blocked) {
  const worker = diagnosis?.worker;
  const listed = [];
  if (player.phase === "ended") listed.push(finding("bad", player.problem, t("why.worker.ended.advice")));
  else if (!player.session && player.problemStatus >= 500 && !blocked) {
    listed.push(finding("bad", player.problem, t("why.worker.refused.advice")));
  }
  if (worker?.cpu === null) listed.push(found("good", "worker.runs")); // how busy it is, operators are told
  if (worker?.state === "silent") listed.push(found("bad", "worker.silent"));
  if (worker?.state === "draining") listed.push(found("warn", "worker.draining"));
  if (worker?.cpu > FULL_CPU) listed.push(found("warn", "worker.cpu", { cpu: percent(worker.cpu) }));
  if (worker?.loop_lag_s > LATE_LOOP_S) {
    listed.push(found("warn", "worker.late", { lag: ageText(worker.loop_lag_s * 1000) }));
  }
  if (!worker) return { found: listed };
  return {
    known: true,
    found: listed,
    facts: [
      fact("worker", worker.name),
      fact("state", worker.state, (state) => t(`why.worker.state.${state}`)),
      fact("cpu", worker.cpu, percent),
      fact("loop_lag", worker.loop_lag_s, (lag) => ageText(lag * 1000)),
      fact("viewers", worker.viewers),
    ],
  };
}

/** Packets that arrived and that got lost since the reading before, null where that is not known. */
function arrived({ local, before, windowMs }) {
  const [now, then] = [local.video, before?.local?.video];
  if (!now || !then || windowMs < WINDOW_MS) return null;
  return { packets: growth(now.packets, then.packets), lost: growth(now.lost, then.lost) };
}

function connectionFindings({ local, player, failure, diagnosis }, blocked) {
  const listed = [];
  if (failure?.status === 401) listed.push(finding("bad", failure.message, t("why.network.login.advice")));
  else if (failure && failure.status !== 404) {
    const plays = local.connection === "connected";
    const advice = failure.status === 0 ? t("why.network.server.advice") : null;
    listed.push(finding(plays ? "warn" : "bad", failure.message, advice));
  }
  if (player.phase === "released") listed.push(found("unknown", "network.released"));
  if (local.connection === "connected" || blocked) return listed;
  const state = local.connection ?? diagnosis?.network?.state;
  if (state === "failed" || state === "disconnected") listed.push(found("bad", `network.${state}`));
  else if (state && player.phase !== "ended") listed.push(found("bad", "network.connecting"));
  else if (player.phase === "waiting" && player.problem && player.problemStatus === 0 && !failure) {
    listed.push(finding("bad", player.problem, t("why.network.connecting.advice")));
  }
  return listed;
}

function ofNetwork(known, blocked) {
  const { local, diagnosis, player, before, span } = known;
  const network = diagnosis?.network;
  const path = local.path;
  const connected = local.connection === "connected";
  const listed = connectionFindings(known, blocked);
  const recent = arrived(known);
  const expected = recent && recent.packets + recent.lost;
  const loss = expected > 0 ? recent.lost / expected : (player.rates?.lossShare ?? network?.loss ?? null);
  const rttMs = path?.rttMs ?? (network?.rtt_s != null ? network.rtt_s * 1000 : null);
  const given = player.showing ?? network;
  const dropped = growth(network?.dropped_frames, before?.diagnosis?.network?.dropped_frames);
  const [carries, needs] = [network?.available_bitrate, diagnosis?.camera?.bitrate];
  if (connected) {
    if (recent?.packets === 0 && given?.showing !== "keyframes" && !blocked) {
      listed.push(found("bad", "network.silent"));
    }
    if (loss > LOSS) {
      listed.push(found(loss > HEAVY_LOSS ? "bad" : "warn", "network.loss", { loss: percent(loss) }));
    }
    if (path?.protocol === "tcp") listed.push(found("warn", "network.tcp"));
    if (rttMs > FAR_MS) listed.push(found("warn", "network.far", { rtt: ageText(rttMs) }));
    if (player.quality === "auto" && player.showing && player.showing.showing !== "main") {
      const values = { given: t(`panel.given.${player.showing.showing}`), reason: player.showing.reason };
      listed.push(found("warn", "network.narrow", values));
    } else if (carries > 0 && carries < needs && (dropped > 0 || loss > LOSS)) {
      // Without trouble it is only what the link was seen to carry: no more was sent.
      listed.push(found("warn", "network.less", { carries: bitrate(carries), needs: bitrate(needs) }));
    }
    if (dropped > 0) listed.push(found("warn", "network.dropped", { count: dropped, seconds: span }));
  }
  return {
    known: connected,
    found: listed,
    facts: [
      fact("connection", local.connection ?? network?.state),
      fact("path", path, ({ local: here, remote, protocol }) => `${protocol?.toUpperCase()} (${here} – ${remote})`),
      fact("local_address", path?.localAddress),
      fact("remote_address", path?.remoteAddress),
      fact("seen_as", network?.path),
      fact("srtp", network?.srtp),
      fact("rtt", rttMs, ageText),
      fact("loss", loss, percent),
      fact("available", carries, bitrate),
      fact("asked", player.quality, (quality) => t(`panel.given.${quality}`)),
      fact("given", given?.showing, (name) => t(`panel.given.${name}`)),
      fact("nacks", local.video?.nacks),
      fact("retransmitted", network?.retransmitted),
      counted("frames_left_out", network?.dropped_frames, dropped, span),
    ],
  };
}

function ofDecoder({ local, player, before, span, windowMs }, blocked) {
  const { video } = local;
  const then = before?.local?.video;
  const decoded = growth(video?.decoded, then?.decoded);
  const dropped = growth(video?.dropped, then?.dropped);
  const freezes = growth(video?.freezes, then?.freezes);
  const stands = player.stillMs === null || player.stillMs > 3 * player.pictureMs + STILL_MS;
  const listed = [];
  if (!player.session && player.problemStatus === 406) {
    listed.push(finding("bad", player.problem, t("why.decoder.refused.advice")));
  } else if (stands) {
    if (blocked) listed.push(found("unknown", "after"));
    else if (video?.packets > 0 && video.decoded === 0) listed.push(found("bad", "decoder.nothing"));
    else if (windowMs >= WINDOW_MS && decoded === 0 && growth(video?.packets, then?.packets) > 0) {
      listed.push(found("bad", "decoder.stands"));
    } else listed.push(found("unknown", "decoder.waits"));
  } else {
    if (dropped > DROPPED_SHARE * (decoded + dropped)) {
      listed.push(found("warn", "decoder.drops", { count: dropped, seconds: span }));
    }
    if (freezes > 0) listed.push(found("warn", "decoder.freezes", { count: freezes, seconds: span }));
    if (video?.powerEfficient === false && local.videos > MANY_VIDEOS) {
      listed.push(found("warn", "decoder.software", { count: local.videos }));
    }
    if (player.ageMs > OLD_MS) listed.push(found("warn", "decoder.old", { age: ageText(player.ageMs) }));
  }
  return {
    known: video !== null,
    found: listed,
    facts: [
      fact("age", player.ageMs, ageText),
      fact("still", player.stillMs, (still) => ago(still / 1000)),
      fact("codec", video?.codec, (codec) => [codec, video.format].filter(Boolean).join(" ")),
      fact("decoder", video?.decoder),
      fact("hardware", video?.powerEfficient, yesOrNo),
      fact("size", video?.width, (width) => `${width} × ${video.height}`),
      fact("decoded", video?.decoded),
      counted("dropped", video?.dropped, dropped, span),
      fact("keyframes", video?.keyframes),
      fact("plis", video?.plis),
      counted("freezes", video?.freezes, freezes, span),
      fact("buffer", video?.bufferMs, ageText),
      fact("videos", local.videos),
      fact("sessions", player.reconnects),
    ],
  };
}

const STEPS = {
  camera: ofCamera,
  ingest: ofIngest,
  bus: ofBus,
  worker: ofWorker,
  network: ofNetwork,
  decoder: ofDecoder,
};

function judged(step, { known = false, found: listed = [], advice = [], facts = [] }, blocked) {
  const verdict = listed.reduce(
    (worst, { verdict: next }) => (RANK[next] > RANK[worst] ? next : worst),
    known || listed.length > 0 ? "good" : "unknown",
  );
  const telling = listed.filter((each) => each.verdict === verdict);
  let text = telling.map((each) => each.text).join(" ");
  if (telling.length === 0) {
    text = t(verdict === "good" ? `why.${step}.good` : blocked ? "why.after" : "why.not_known");
  }
  const own = listed.map((each) => each.advice).filter(Boolean);
  return {
    step,
    verdict,
    facts: facts.filter(Boolean),
    text,
    advice: [...own, ...advice].join(" "),
  };
}

/**
 * The steps in the order of the way, each as {step, verdict, facts: [[label, value], …], text, advice}.
 *
 * `verdict` is "bad" where no picture comes through, "warn" where it suffers, "good", or "unknown". `camera` is the
 * camera in the list, `diagnosis` the server's answer to `diagnose`, or `failure` ({status, message}) why there is
 * none, `local` what reading.js gives, `player` the tile's. `before` is an older reading of the same session,
 * {diagnosis, local}, taken `windowMs` ago: counts that grew since then tell what happens now.
 */
export function chain({ camera, diagnosis, local, player, failure = null, before = null, windowMs = 0 }) {
  const known = { camera, diagnosis, local, player, failure, before, windowMs };
  known.span = seconds(Math.round(windowMs / 1000));
  let blocked = false;
  return Object.entries(STEPS).map(([step, judge]) => {
    const result = judged(step, judge(known, blocked), blocked);
    blocked ||= result.verdict === "bad";
    return result;
  });
}
