// Durations and moments as people say them. Moments are in microseconds since 1970.

import { t } from "../i18n/index.svelte";

/** A duration in seconds: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 0) seconds = 0;
  if (seconds < 0.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago, or how far ahead, in one unit. */
export function ago(at_us: number, now_us: number): string {
  const seconds = (now_us - at_us) / 1e6;
  const ahead = seconds < 0;
  const size = Math.abs(seconds);
  if (size < 5) return t("just now");
  const span =
    size < 60
      ? `${Math.floor(size)} s`
      : size < 3600
        ? `${Math.floor(size / 60)} min`
        : size < 86400
          ? `${Math.floor(size / 3600)} h`
          : `${Math.floor(size / 86400)} d`;
  return ahead ? t("in {span}", { span }) : t("{span} ago", { span });
}

// Made once: it takes longer than all that it is used for in a view.
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** The exact moment, in the reader's zone. */
export function exact(at_us: number): string {
  return moment.format(at_us / 1000);
}

function pad(number: number): string {
  return String(number).padStart(2, "0");
}
