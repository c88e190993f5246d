// Making and changing the document. Text only ever goes in as text, so nothing that a build wrote is read as HTML.

export const RESULTS = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"];

// An element: h("a", {href: "#/", class: "x", onclick: f}, "text", child, [more children]).
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A link to somewhere a build named: only to web addresses.
export function outside(url, text) {
  const safe = /^https?:\/\//i.test(url);
  return safe ? h("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank" }, text) : h("span", {}, text);
}

// Show one child per thing. A child whose thing looks as before stays, with its focus and selection.
export function fill(parent, things, key, draw) {
  const before = parent.drawn ?? new Map();
  const now = new Map();
  for (const thing of things) {
    const id = String(key(thing));
    const looks = JSON.stringify(thing);
    const old = before.get(id);
    now.set(id, old?.looks === looks ? old : { looks, node: draw(thing) });
  }
  const nodes = [...now.values()].map((each) => each.node);
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
  parent.drawn = now;
}

export function result(thing) {
  if (!thing.complete) return "running";
  return RESULTS[thing.results] ?? "unknown";
}

// The result as a word on its colour: never a colour alone.
export function badge(thing) {
  const name = result(thing);
  return h("span", { class: `badge ${name}` }, name);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function duration(us) {
  const seconds = us / 1e6;
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const at = UNITS.findIndex(([size]) => seconds >= size);
  const [size, unit] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[0]) : 0;
  return rest ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
}

function since(us) {
  const seconds = (Date.now() * 1000 - us) / 1e6;
  if (seconds < 5) return "just now";
  const [size, unit] = UNITS.find(([each]) => seconds >= each) ?? UNITS[3];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

// "3 min ago", kept true by `tick`.
export function ago(us) {
  if (!us) return "";
  const date = new Date(us / 1000);
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString(), "data-us": us }, since(us));
}

// How long something took, or takes: then it is kept true by `tick`.
export function took(from, to) {
  if (!from) return "";
  if (to) return duration(to - from);
  return h("span", { "data-from": from }, duration(Date.now() * 1000 - from));
}

export function tick() {
  for (const element of document.querySelectorAll("[data-us]")) set(element, since(Number(element.dataset.us)));
  for (const element of document.querySelectorAll("[data-from]")) {
    set(element, duration(Date.now() * 1000 - Number(element.dataset.from)));
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}

export function section(title, ...content) {
  const id = `h-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...content);
}
