// What the chain comes to: who is to blame, in one sentence, and all of it as plain text.

import { t } from "../shared/texts.js";

/** The step that is to blame: the first that lets no picture through, else the first that harms it; or null. */
export function culprit(steps) {
  const first = (verdict) => steps.find((each) => each.verdict === verdict);
  return first("bad") ?? first("warn") ?? null;
}

/** In one sentence what is wrong. */
export function summary(steps, player) {
  const guilty = culprit(steps);
  if (guilty) return `${t(`why.step.${guilty.step}`)}: ${guilty.text}`;
  return t(player.stillMs === null ? "why.nothing_found" : "why.all_good");
}

/** All of it as plain text, to be sent to somebody. */
export function asText(steps, player, at, browser) {
  const lines = [
    t("why.report", { camera: player.camera }),
    at.toISOString(),
    browser,
    ...(player.session ? [t("why.report.session", { session: player.session.slice(0, 6) })] : []),
    "",
    summary(steps, player),
  ];
  for (const { step, verdict, facts, text, advice } of steps) {
    lines.push("", `${t(`why.step.${step}`)} [${t(`why.verdict.${verdict}`)}]`, text);
    if (advice) lines.push(`> ${advice}`);
    for (const [label, value] of facts) lines.push(`  ${label}: ${value}`);
  }
  return `${lines.join("\n")}\n`;
}
