// The first view: builders with their last results, recent builds, what waits and why, the workers.

import { ago, badge, count, fill, h, result, section, took } from "./dom.js";

const RECENT = 25;
const PENDING = 20;
const SQUARES = 10;

export async function overview(context) {
  const builders = new Map();
  const builds = new Map();
  const requests = new Map();
  const workers = new Map();
  let waiting = 0;
  let scheduled = false;

  const lists = {
    builders: h("ul", { class: "cards" }),
    builds: h("ul", { class: "rows" }),
    requests: h("ul", { class: "rows" }),
    workers: h("ul", { class: "rows" }),
  };
  const more = h("p", { class: "quiet" });
  const element = h(
    "div", { class: "overview" },
    h("h1", { class: "hidden" }, "Overview"),
    section("Builders", lists.builders),
    section("Recent builds", lists.builds),
    section("Waiting", lists.requests, more),
    section("Workers", lists.workers),
  );

  const name = (builderid) => builders.get(builderid)?.name ?? `builder ${builderid}`;

  function drawBuilder({ builder, last }) {
    const newest = last[0];
    return h(
      "li", { class: `card ${newest ? result(newest) : "none"}` },
      h("a", { class: "name", href: `#/builders/${builder.builderid}` }, builder.name),
      h("span", { class: "squares" }, [...last].reverse().map((build) => h(
        "a", {
          class: `square ${result(build)}`,
          href: `#/builds/${build.buildid}`,
          title: `#${build.number}: ${result(build)}`,
          "aria-label": `build ${build.number}: ${result(build)}`,
        },
      ))),
      h("span", { class: "quiet" }, newest ? [newest.state_string, " · ", ago(newest.started_at_us)] : "no builds yet"),
    );
  }

  function drawBuild(build) {
    return h(
      "li", {},
      badge(build),
      h("a", { class: "name", href: `#/builds/${build.buildid}` }, `${name(build.builderid)} #${build.number}`),
      h("span", { class: "text" }, build.state_string),
      h("span", { class: "quiet" }, took(build.started_at_us, build.complete_at_us), " · ", ago(build.started_at_us)),
    );
  }

  function drawRequest(request) {
    const cancel = () => context.act(`buildrequests/${request.buildrequestid}`, "cancel", { reason: "cancelled on the page" });
    return h(
      "li", {},
      h("span", { class: "badge waiting" }, "waiting"),
      h("a", { class: "name", href: `#/builders/${request.builderid}` }, name(request.builderid)),
      h("span", { class: "text" }, request.waits_for || "for a worker to be free"),
      h("span", { class: "quiet" }, request.priority ? `priority ${request.priority} · ` : "", ago(request.submitted_at_us)),
      h("button", { onclick: cancel, "aria-label": `Cancel request ${request.buildrequestid}` }, "Cancel"),
    );
  }

  function drawWorker(worker) {
    const state = worker.paused ? "paused" : worker.connected_to.length ? "connected" : "away";
    const act = (action) => () => context.act(`workers/${worker.workerid}`, action, { reason: "on the page" });
    const { host, version } = worker.workerinfo;
    return h(
      "li", {},
      h("span", { class: `badge ${state}` }, state),
      h("span", { class: "name" }, worker.name),
      h("span", { class: "text" }, worker.graceful ? "is to stop when idle" : worker.pause_reason ?? ""),
      h("span", { class: "quiet" }, [host, version && `version ${version}`].filter(Boolean).join(" · ")),
      worker.paused ? h("button", { onclick: act("unpause") }, "Go on") : h("button", { onclick: act("pause") }, "Pause"),
    );
  }

  function draw() {
    scheduled = false;
    const newest = [...builds.values()].sort((a, b) => b.buildid - a.buildid);
    const byBuilder = new Map();
    for (const build of newest) {
      const mine = byBuilder.get(build.builderid) ?? [];
      if (mine.length < SQUARES) byBuilder.set(build.builderid, [...mine, build]);
    }
    const shown = [...builders.values()].filter((each) => each.masterids.length).sort((a, b) => (a.name < b.name ? -1 : 1));
    fill(
      lists.builders,
      shown.map((each) => ({ builder: each, last: byBuilder.get(each.builderid) ?? [] })),
      ({ builder }) => builder.builderid,
      drawBuilder,
    );
    fill(lists.builds, newest.slice(0, RECENT), (build) => build.buildid, drawBuild);
    const pending = [...requests.values()].sort((a, b) => b.priority - a.priority || a.buildrequestid - b.buildrequestid);
    fill(lists.requests, pending.slice(0, PENDING), (request) => request.buildrequestid, drawRequest);
    more.textContent = waiting === 0
      ? "Nothing waits."
      : waiting > pending.length ? `${count(waiting, "request")} wait, ${pending.length} are shown.` : "";
    fill(lists.workers, [...workers.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), (worker) => worker.workerid, drawWorker);
  }

  function schedule() {
    if (!scheduled) requestAnimationFrame(draw);
    scheduled = true;
  }

  async function refresh() {
    const [allBuilders, recent, open, pending, allWorkers] = await Promise.all([
      context.read("builders"),
      context.read("builds", { limit: 300, order: "-buildid" }),
      context.read("builds", { complete: "false", limit: 100 }),
      context.read("buildrequests", { claimed: "false", limit: PENDING, order: ["-priority"] }),
      context.read("workers"),
    ]);
    builders.clear();
    builds.clear();
    requests.clear();
    workers.clear();
    for (const each of allBuilders) builders.set(each.builderid, each);
    for (const each of [...recent, ...open]) builds.set(each.buildid, each);
    for (const each of pending) requests.set(each.buildrequestid, each);
    for (const each of allWorkers) workers.set(each.workerid, each);
    waiting = pending.total;
    // Builders that haven't built for long are asked one by one, unless there are too many of them.
    const seen = new Set(recent.map((build) => build.builderid));
    const silent = allBuilders.filter((each) => each.masterids.length && !seen.has(each.builderid)).slice(0, 30);
    const older = await Promise.all(silent.map((each) => (
      context.read(`builders/${each.builderid}/builds`, { limit: SQUARES, order: "-number" }))));
    for (const each of older.flat()) builds.set(each.buildid, each);
    draw();
  }

  context.listen("builds/*/*", (_, build) => { builds.set(build.buildid, build); schedule(); });
  context.listen("workers/*/*", (_, worker) => { workers.set(worker.workerid, worker); schedule(); });
  context.listen("builders/*/*", (_, each) => { builders.set(each.builderid, each); schedule(); });
  context.listen("buildrequests/*/*", (_, request) => {
    const had = requests.has(request.buildrequestid);
    if (request.claimed) {
      if (requests.delete(request.buildrequestid)) waiting -= 1;
    } else {
      requests.set(request.buildrequestid, request);
      if (!had) waiting += 1;
    }
    schedule();
  });
  await refresh();
  return { element, refresh, title: "" };
}
