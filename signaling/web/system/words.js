// Figures of the system view as people read them; what is not known is a dash.

import { Refused } from "../shared/api.js";
import { language, t } from "../shared/texts.js";

export const NOTHING = "–";
const MINUTE_S = 60;
const HOUR_S = 60 * MINUTE_S;
const DAY_S = 24 * HOUR_S;

const known = (value) => value !== null && value !== undefined;

/** `words(value)`, or a dash when there is no value. */
export const or = (value, words) => (known(value) ? words(value) : NOTHING);

/** A number with at most so many digits behind the point, grouped as the language does it. */
export const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits });

/** A share as percent. */
export const percent = (share) => `${number(share * 100, share < 0.1 ? 1 : 0)} %`;

export const milliseconds = (valueS) => `${number(valueS * 1000)} ms`;

/** How long something goes on, by its two largest units. */
export function duration(valueS) {
  if (valueS < MINUTE_S) return t("system.seconds", { seconds: Math.floor(valueS) });
  const minutes = Math.floor(valueS / MINUTE_S);
  if (valueS < HOUR_S) return t("system.minutes", { minutes });
  const hours = Math.floor(valueS / HOUR_S);
  if (valueS < DAY_S) return t("system.hours", { hours, minutes: minutes % 60 });
  return t("system.days", { days: Math.floor(valueS / DAY_S), hours: hours % 24 });
}

/** Why something failed: the server's words, where it said any. */
export const reason = (error) => (error instanceof Refused ? error.message : t("system.no_answer"));
