// The newest changes with their builds, kept up to date: what the list of changes, the console and the grid show.
//
// Reading is one request for all of it, so it is done again only when a change comes or a build begins (which
// changes it belongs to is the master's to say), and not more often than every PAUSE. How a build that is shown
// goes on is taken from its event.

import { SvelteMap } from "svelte/reactivity";
import { LISTED, type ChangeBuild, type Listed } from "./changes";
import { events } from "./connection.svelte";
import { type Live, live } from "./live.svelte";
import type { Params } from "./api";
import type { Build } from "./types";

const PAUSE = 3000;

export class ChangesWithBuilds {
  readonly list: Live<Listed>;
  readonly #told = new SvelteMap<number, ChangeBuild>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #readAt = 0;

  constructor(params: () => Params) {
    this.list = live<Listed>(() => ({
      path: "changes",
      params: { ...params(), field: [...LISTED, "builds"] },
      id: "changeid",
      on: ["changes/*/*"],
    }));
    $effect(() =>
      events.listen("builds/*/*", (event, thing) => this.#take(event, thing as unknown as Build)),
    );
    $effect(() => () => clearTimeout(this.#timer));
  }

  get items(): readonly Listed[] {
    return this.list.items;
  }

  /** The builds of a change, each as it is by now. */
  builds(change: Listed): ChangeBuild[] {
    return (change.builds ?? []).map((build) =>
      build.complete ? build : (this.#told.get(build.buildid) ?? build),
    );
  }

  #take(event: string, build: Build): void {
    if (event === "new") {
      const due = Math.max(0, this.#readAt + PAUSE - Date.now());
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#readAt = Date.now();
        this.list.refresh();
      }, due);
    } else if (this.#runs(build.buildid)) {
      this.#told.set(build.buildid, build);
    }
  }

  /** Whether the build is shown, and wasn't finished when it was read. */
  #runs(buildid: number): boolean {
    return this.list.items.some((change) =>
      change.builds?.some((build) => build.buildid === buildid && !build.complete),
    );
  }
}
