// Figures of the system view as people read them; what is not known is a dash.

import { Refused } from "../shared/api.js";
import { language, t } from "../shared/texts.js";

export const NOTHING = "–";

export const isKnown = (value) => value !== null && value !== undefined;

/** `words(value)`, or a dash when there is no value. */
export const or = (value, words) => (isKnown(value) ? words(value) : NOTHING);

/** A number with at most so many digits behind the point, grouped as the language does it. */
export const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits });

export const milliseconds = (valueS) => `${number(valueS * 1000)} ms`;

/** Why something failed: the server's words, where it said any. */
export const reason = (error) => (error instanceof Refused ? error.message : t("system.no_answer"));
