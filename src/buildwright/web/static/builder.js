// One builder: its forms for starting builds, what waits, its builds.

import { ago, badge, fill, h, section, took } from "./dom.js";

const SHOWN = 50;

export async function builder(context, id) {
  const [[found], forms] = await Promise.all([
    context.read(`builders/${id}`),
    context.read(`builders/${id}/forceschedulers`),
  ]);
  const builds = new Map();
  const list = h("ul", { class: "rows" });
  const waiting = h("p", { class: "quiet" });
  const element = h(
    "div", {},
    h("h1", {}, found.name),
    h("p", { class: "quiet" }, found.description ?? "", found.tags.map((tag) => h("span", { class: "tag" }, tag))),
    forms.filter((form) => form.enabled).map((form) => forceForm(context, found, form)),
    section("Builds", waiting, list),
  );

  function draw() {
    const newest = [...builds.values()].sort((a, b) => b.number - a.number).slice(0, SHOWN);
    fill(list, newest, (build) => build.buildid, (build) => h(
      "li", {},
      badge(build),
      h("a", { class: "name", href: `#/builds/${build.buildid}` }, `#${build.number}`),
      h("span", { class: "text" }, build.state_string),
      h("span", { class: "quiet" }, took(build.started_at_us, build.complete_at_us), " · ", ago(build.started_at_us)),
    ));
  }

  async function refresh() {
    const [recent, pending] = await Promise.all([
      context.read(`builders/${id}/builds`, { limit: SHOWN, order: "-number" }),
      context.read(`builders/${id}/buildrequests`, { claimed: "false", limit: 1, order: "-priority" }),
    ]);
    for (const build of recent) builds.set(build.buildid, build);
    waiting.textContent = pending.total
      ? `${pending.total.toLocaleString()} waiting: ${pending[0].waits_for || "for a worker to be free"}`
      : "";
    draw();
  }

  let asked = 0;
  context.listen(`builders/${id}/builds/*/*`, (_, build) => { builds.set(build.buildid, build); draw(); });
  context.listen(`builders/${id}/buildrequests/*/*`, () => {
    clearTimeout(asked);
    asked = setTimeout(() => { if (context.open) refresh().catch(() => {}); }, 300);
  });
  await refresh();
  return { element, refresh, title: found.name };
}

function forceForm(context, found, form) {
  const inputs = [];
  const answer = h("span", { class: "quiet", role: "status" });
  const button = h("button", { class: "main" }, form.button_name);
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    answer.textContent = "asking…";
    const params = { builderid: found.builderid };
    for (const [name, value] of inputs) params[name] = value();
    const { result, error } = await context.act(`forceschedulers/${encodeURIComponent(form.name)}`, "force", params);
    button.disabled = false;
    answer.textContent = error ? error.message : `Request ${Object.values(result[1]).join(", ")} is waiting to be built.`;
  }
  const fields = form.all_fields.flatMap((field) => draw(field, inputs));
  return h(
    "details", { class: "force" },
    h("summary", {}, form.label || form.name),
    h("form", { onsubmit: submit }, fields, h("p", { class: "buttons" }, button, " ", answer)),
  );
}

// The inputs of a field of a form; pushes [full name, how to get its value] for each.
function draw(field, inputs) {
  if (field.fields) {
    const inner = field.fields.flatMap((each) => draw(each, inputs));
    if (!field.label || !inner.length) return inner;
    return [h("fieldset", {}, h("legend", {}, field.label), inner)];
  }
  if (field.hide || field.type === "fixed") return [];
  const shown = { name: field.fullName, required: field.required, title: field.tooltip || null };
  const start = field.default ?? "";
  let input;
  let value = () => input.value;
  if (field.type === "bool") {
    input = h("input", { ...shown, required: false, type: "checkbox", checked: start === true });
    value = () => input.checked;
    inputs.push([field.fullName, value]);
    return [h("label", { class: "check" }, input, " ", field.label || field.name)];
  }
  if (field.type === "list") {
    input = h("select", { ...shown, multiple: field.multiple }, (field.choices ?? []).map((choice) => (
      h("option", { selected: [start].flat().includes(choice) }, choice))));
    if (field.multiple) value = () => [...input.selectedOptions].map((option) => option.value);
  } else if (field.type === "textarea" || field.type === "file") {
    input = h("textarea", { ...shown, rows: field.rows ?? 4 });
    input.value = start;
  } else {
    input = h("input", { ...shown, type: field.type === "int" ? "number" : "text", value: String(start) });
  }
  inputs.push([field.fullName, value]);
  return [h("label", {}, field.label || field.name, " ", input)];
}
