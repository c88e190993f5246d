// The present, for everything that shows how long ago something was. It follows the master's clock, whose times
// are shown, and not the reader's, which may be wrong.

let offset_us = 0;
export const clock = $state({ now_us: Date.now() * 1000 });

/** The master says that it is this late. */
export function set_by_master(now_us: number): void {
  offset_us = now_us - Date.now() * 1000;
  tick();
}

function tick(): void {
  clock.now_us = Date.now() * 1000 + offset_us;
}

setInterval(() => {
  if (!document.hidden) tick();
}, 1000);
document.addEventListener("visibilitychange", tick);
