// One build: its state, steps with the ends of their logs, changes and properties.

import { ago, badge, count, fill, h, outside, section, took } from "./dom.js";
import { left } from "./left.js";

const TAIL = 200;
const FAILED = [2, 4];
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g;
const KINDS = { o: "", e: "stderr", h: "header" };

export async function build(context, id) {
  const [found] = await context.read(`builds/${id}`);
  const [[builder], [worker], [request]] = await Promise.all([
    context.read(`builders/${found.builderid}`),
    context.read(`workers/${found.workerid}`),
    context.read(`buildrequests/${found.buildrequestid}`),
  ]);
  const [buildset] = await context.read(`buildsets/${request.buildsetid}`);
  const head = h("div", { class: "head" });
  const steps = h("ol", { class: "steps" });
  const changes = h("ul", { class: "rows" });
  const properties = h("dl", { class: "properties" });
  const behind = left(context, id);
  const known = new Map();
  const tails = new Map();
  let current = found;

  const element = h(
    "div", {},
    h("h1", {}, h("a", { href: `#/builders/${builder.builderid}` }, builder.name), ` #${found.number}`),
    head,
    section("Steps", steps),
    behind.element,
    section("Changes", changes),
    h("details", { class: "more" }, h("summary", {}, "Properties"), properties),
  );

  function drawHead() {
    const act = (path, method, params) => async () => {
      const { result } = await context.act(path, method, params);
      if (method === "rebuild" && result) location.hash = `#/builders/${builder.builderid}`;
    };
    fill(head, [current], () => "head", (now) => h(
      "div", {},
      h("p", { class: "state" }, badge(now), " ", h("span", { class: "text" }, now.state_string)),
      h(
        "p", { class: "quiet" },
        `on ${worker.name} · `, ago(now.started_at_us), " · ", took(now.started_at_us, now.complete_at_us),
        now.attempt > 1 ? ` · attempt ${now.attempt}` : "", buildset.reason ? ` · ${buildset.reason}` : "",
      ),
      h("p", { class: "buttons" }, now.complete
        ? h("button", { onclick: act(`builds/${id}`, "rebuild", {}) }, "Rebuild")
        : h("button", { onclick: act(`builds/${id}`, "stop", { reason: "stopped on the page" }) }, "Stop")),
    ));
  }

  function drawSteps() {
    const shown = [...known.values()].filter((step) => !step.hidden || step.results > 0).sort((a, b) => a.number - b.number);
    fill(steps, shown, (step) => step.stepid, (step) => {
      // The opened logs of a step outlive its redrawing.
      const logs = tails.get(step.stepid) ?? tails.set(step.stepid, logsOf(context, step)).get(step.stepid);
      return h(
        "li", {},
        h(
          "p", { class: "step" },
          badge(step), h("span", { class: "name" }, step.name), h("span", { class: "text" }, step.state_string),
          h("span", { class: "quiet" }, took(step.started_at_us, step.complete_at_us)),
        ),
        step.urls.length ? h("p", { class: "links" }, step.urls.map((link) => outside(link.url, link.name))) : null,
        logs.element,
      );
    });
    for (const step of shown) tails.get(step.stepid).update(step);
  }

  async function refresh() {
    const [[now], allSteps, allChanges, [all]] = await Promise.all([
      context.read(`builds/${id}`),
      context.read(`builds/${id}/steps`),
      context.read(`builds/${id}/changes`, { limit: 50, order: "-changeid" }),
      context.read(`builds/${id}/properties`),
      behind.refresh(),
    ]);
    current = now;
    for (const step of allSteps) known.set(step.stepid, step);
    drawHead();
    drawSteps();
    fill(changes, allChanges, (change) => change.changeid, drawChange);
    if (!allChanges.length) changes.replaceChildren(h("li", { class: "quiet" }, "none since the last success"));
    properties.replaceChildren(...Object.entries(all).sort().flatMap(([name, [value, source]]) => [
      h("dt", {}, name),
      h("dd", {}, typeof value === "string" ? value : JSON.stringify(value), h("span", { class: "quiet" }, ` ${source}`)),
    ]));
  }

  context.listen(`builds/${id}/*`, (_, now) => { current = now; drawHead(); });
  context.listen(`builds/${id}/steps/*/*`, (_, step) => { known.set(step.stepid, step); drawSteps(); });
  await refresh();
  return { element, refresh, title: `${builder.name} #${found.number}` };
}

function drawChange(change) {
  const [summary] = change.comments.split("\n");
  const revision = (change.revision ?? "").slice(0, 10);
  return h(
    "li", {},
    h("code", {}, change.revlink ? outside(change.revlink, revision) : revision),
    h("span", { class: "text" }, summary),
    h("span", { class: "quiet" }, change.author.replace(/\s*<.*>/, ""), " · ", ago(change.when_timestamp_us)),
  );
}

// The logs of a step: a button each, which shows the log's end and follows it while it grows.
function logsOf(context, step) {
  const element = h("div", { class: "logs" });
  let read = false;
  async function load(opened) {
    const logs = await context.read(`steps/${step.stepid}/logs`);
    const shown = element.children.length;
    for (const log of logs.slice(shown)) element.append(drawLog(context, log));
    // What went wrong is what the reader came for.
    if (opened && element.firstElementChild) element.firstElementChild.open = true;
  }
  return {
    element,
    update(now) {
      // Logs appear while a step runs, so they are asked for until it is complete.
      if (read) return;
      read = now.complete;
      load(FAILED.includes(now.results)).catch(() => { read = false; });
    },
  };
}

// A line as a terminal shows it at last: without escape sequences, and of a line that was written over the last state.
function readable(line) {
  return line.replace(ESCAPES, "").replace(/\r+$/, "").replace(/^.*\r/, "");
}

function drawLog(context, log) {
  const text = h("pre", { tabindex: "0", "aria-label": `the end of ${log.name}` });
  const raw = `api/v2/logs/${log.logid}/raw`;
  const where = h("p", { class: "quiet" });
  let following = false;
  let asked = false;
  let again = false;
  async function load() {
    if (asked) { again = true; return; }
    asked = true;
    try {
      const [now] = await context.read(`logs/${log.logid}`);
      const first = Math.max(0, now.num_lines - TAIL);
      const [chunk] = await context.read(`logs/${log.logid}/contents`, { offset: first, limit: TAIL });
      const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 20;
      const lines = chunk.content.split("\n").slice(0, -1);
      text.replaceChildren(...lines.map((line) => (now.type === "s"
        ? h("span", { class: KINDS[line[0]] }, `${readable(line.slice(1))}\n`)
        : `${readable(line)}\n`)));
      where.replaceChildren(
        first ? `the last ${TAIL} of ${count(now.num_lines, "line")}` : count(now.num_lines, "line"),
        " · ", h("a", { href: `${raw}_inline` }, "all of it"), " · ", h("a", { href: raw }, "download"),
      );
      if (atEnd) text.scrollTop = text.scrollHeight;
    } catch (error) {
      text.textContent = error.message;
    }
    asked = false;
    if (again) { again = false; load(); }
  }
  function toggle(event) {
    if (!event.target.open || following) return;
    following = true;
    load();
    context.listen(`logs/${log.logid}/*`, load);
  }
  return h("details", { class: "log", ontoggle: toggle }, h("summary", {}, log.name), where, text);
}
