// The page's frame: which view the address names, whether events come, notices, and the question for a token.

import { Events, act, read } from "./api.js";
import { h, tick } from "./dom.js";
import { overview } from "./overview.js";
import { builder } from "./builder.js";
import { build } from "./build.js";

const VIEWS = [
  [/^#?\/?$/, overview],
  [/^#\/builders\/(\d+)$/, builder],
  [/^#\/builds\/(\d+)$/, build],
];

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const live = document.getElementById("live");

let view = null;
let hide = 0;

export function say(text) {
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { notice.hidden = true; }, 8000);
}

function askForToken() {
  const dialog = document.getElementById("ask");
  const input = document.getElementById("token");
  input.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? input.value : null), { once: true });
  });
}

// What views get: reading, acting with a notice when it fails, and events that end with the view.
function context() {
  const ends = [];
  const found = {
    open: true,
    read,
    listen: (path, listener) => ends.push(events.listen(path, listener)),
    act: async (path, method, params) => {
      try {
        return { result: await act(path, method, params, askForToken) };
      } catch (error) {
        say(error.message);
        return { error };
      }
    },
    close: () => {
      found.open = false;
      for (const end of ends.splice(0)) end();
    },
  };
  return found;
}

async function show() {
  if (location.hash === "#main") return;
  view?.context.close();
  const mine = { context: context(), refresh: null };
  view = mine;
  const match = VIEWS.map(([pattern, draw]) => [location.hash.match(pattern), draw]).find(([found]) => found);
  try {
    if (!match) throw new Error("There is no such page.");
    const drawn = await match[1](mine.context, ...match[0].slice(1));
    if (!mine.context.open) return;
    mine.refresh = drawn.refresh;
    main.replaceChildren(drawn.element);
    document.title = drawn.title ? `${drawn.title} – ${title}` : title;
  } catch (error) {
    if (!mine.context.open) return;
    main.replaceChildren(h("p", { class: "error" }, error.message), h("p", {}, h("a", { href: "#/" }, "To the overview")));
  }
}

async function refresh() {
  try {
    await view?.refresh?.();
  } catch (error) {
    say(`The master doesn't answer: ${error.message}`);
  }
}

let title = "Buildwright";
let first = true;

const events = new Events((connected) => {
  live.textContent = connected ? "live" : "reconnecting";
  live.className = connected ? "live on" : "live";
  // Whatever happened while no events came is read again.
  if (connected && !first) refresh();
  if (connected) first = false;
});

window.addEventListener("hashchange", async () => {
  await show();
  if (location.hash !== "#main") {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
});
setInterval(tick, 1000);
setInterval(() => { if (!live.classList.contains("on")) refresh(); }, 15000);

fetch("config").then((response) => response.json()).then((config) => {
  title = config.title;
  document.getElementById("title").textContent = title;
  document.title = title;
}).catch(() => {});
show();
