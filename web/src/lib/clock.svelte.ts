// The present, for everything that shows how long ago something was. It follows the master's clock, whose times
// are shown, and not the reader's, which may be wrong.

let offset_us = 0;
export const clock = $state({ now_us: Date.now() * 1000 });

/** An answer came with the time at which the master wrote it, in whole seconds (HTTP's `Date`). */
export function heardFromMaster(date: string | null): void {
  const ahead_ms = Date.parse(date ?? "") - Date.now();
  // Less than this may be the way, and what was cut off the seconds.
  offset_us = Math.abs(ahead_ms) > 2500 ? ahead_ms * 1000 : 0;
  tick();
}

function tick(): void {
  clock.now_us = Date.now() * 1000 + offset_us;
}

/** Have it go on while the page is looked at. */
export function startClock(): void {
  setInterval(() => {
    if (!document.hidden) tick();
  }, 1000);
  document.addEventListener("visibilitychange", tick);
}
