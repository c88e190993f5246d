// Which view the address asks for. Addresses are in the fragment, in Buildbot's form (`#/builders/3/builds/7`),
// so that links in old mails and chats lead to the same things here, below whatever path a proxy puts the page.

import type { Component } from "svelte";

export interface Route {
  /** The pattern that matched, `/builders/:builder`; empty: none did. */
  pattern: string;
  params: Record<string, string>;
  query: URLSearchParams;
}

type View = () => Promise<{ default: Component }>;

// A view reads `route.params` and `route.query`; moving between addresses of one pattern keeps it.
export const VIEWS: Record<string, View> = {
  "/": () => import("../views/Home.svelte"),
  "/builders": () => import("../views/Builders.svelte"),
  "/builders/:builder": () => import("../views/Builder.svelte"),
  "/builders/:builder/force/:scheduler": () => import("../views/Builder.svelte"),
  "/builders/:builder/builds/:number": () => import("../views/Build.svelte"),
  "/builders/:builder/builds/:number/steps/:step/logs/:slug": () => import("../views/Log.svelte"),
  "/builds/:buildid": () => import("../views/Build.svelte"),
  "/changes": () => import("../views/Changes.svelte"),
  "/changes/:change": () => import("../views/Change.svelte"),
  "/pending": () => import("../views/Pending.svelte"),
  "/pendingbuildrequests": () => import("../views/Pending.svelte"),
  "/buildrequests/:request": () => import("../views/Request.svelte"),
  "/workers": () => import("../views/Workers.svelte"),
  "/workers/:worker": () => import("../views/Worker.svelte"),
  "/console": () => import("../views/Console.svelte"),
  "/grid": () => import("../views/Grid.svelte"),
  "/waterfall": () => import("../views/Waterfall.svelte"),
  "/schedulers": () => import("../views/Schedulers.svelte"),
  "/masters": () => import("../views/Masters.svelte"),
  "/masters/:master": () => import("../views/Master.svelte"),
  "/builders/:builder/tests": () => import("../views/Tests.svelte"),
  "/dashboards/:dashboard": () => import("../views/Dashboard.svelte"),
  "/about": () => import("../views/About.svelte"),
};

export const route = $state<Route>({ pattern: "", params: {}, query: new URLSearchParams() });

export function parse(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean);
  const query = new URLSearchParams(search);
  for (const pattern of Object.keys(VIEWS)) {
    const wanted = pattern.split("/").filter(Boolean);
    if (wanted.length !== parts.length) continue;
    const params: Record<string, string> = {};
    const fits = wanted.every((want, i) => {
      const part = decode(parts[i] ?? "");
      if (!want.startsWith(":")) return want === part;
      params[want.slice(1)] = part;
      return true;
    });
    if (fits) return { pattern, params, query };
  }
  return { pattern: "", params: {}, query };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function follow(): void {
  const next = parse(location.hash);
  route.pattern = next.pattern;
  route.params = next.params;
  route.query = next.query;
}

export function startRouter(): void {
  addEventListener("hashchange", follow);
  follow();
  // The first view is fetched while the page around it is set up.
  void VIEWS[route.pattern]?.().catch(() => undefined);
}

/** The link to a path with a query; elements of the path are encoded. */
export function link(
  parts: readonly (string | number)[],
  query: Record<string, string | number | undefined> = {},
): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") search.set(name, String(value));
  const text = search.toString();
  return `#/${parts.map((part) => encodeURIComponent(part)).join("/")}${text ? `?${text}` : ""}`;
}

/** Change the query of the present address, without a step of the browser's history. */
export function setQuery(values: Record<string, string | undefined>): void {
  const query = new URLSearchParams(route.query);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  const path = location.hash.split("?", 1)[0] || "#/";
  const text = query.toString();
  history.replaceState(history.state, "", `${path}${text ? `?${text}` : ""}`);
  route.query = query;
}

// -- Links to things, in one place.
export const to = {
  builder: (builderid: number | string) => link(["builders", builderid]),
  build: (builderid: number, number: number) => link(["builders", builderid, "builds", number]),
  log: (
    builderid: number | string,
    number: number | string,
    step: number | string,
    slug: string,
    query: Record<string, string | undefined> = {},
  ) => link(["builders", builderid, "builds", number, "steps", step, "logs", slug], query),
  force: (builderid: number | string, scheduler: string) => link(["builders", builderid, "force", scheduler]),
  request: (buildrequestid: number, query: Record<string, string | undefined> = {}) =>
    link(["buildrequests", buildrequestid], query),
  worker: (workerid: number) => link(["workers", workerid]),
  master: (masterid: number) => link(["masters", masterid]),
  change: (changeid: number) => link(["changes", changeid]),
};
