// When the reader last looked at the page, in microseconds since 1970: what broke later is new to them. A page that
// is open counts as looked at as long as it is visible.

const KEY = "looked";

function now(): number {
  return Date.now() * 1000;
}

function kept(): number {
  const at = Number(localStorage.getItem(KEY));
  return Number.isFinite(at) && at > 0 ? at : now();
}

/** As it was when this page was opened. */
export const lastLooked_us = kept();

function look(): void {
  localStorage.setItem(KEY, String(now()));
}

addEventListener("pagehide", look);
document.addEventListener("visibilitychange", () => document.hidden && look());
