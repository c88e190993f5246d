// What can be done with requests that wait, one or many.

import { tn } from "../../i18n/index.svelte";
import { act, attempt, notify } from "../../lib/acting.svelte";
import { ApiError } from "../../lib/api";

const AT_ONCE = 4;

/** Call a method of each request, and say what came of all of them. */
async function each(
  ids: readonly number[],
  method: string,
  params: Record<string, unknown>,
  done: (count: number) => string,
): Promise<void> {
  const [first, ...others] = ids;
  if (first === undefined) return;
  if (!others.length) {
    await act(`buildrequests/${first}`, method, params, done(1));
    return;
  }
  let taken = 0;
  const refused: string[] = [];

  /** Whether there is any use in going on: who may not do it with one may not with the others. */
  async function one(id: number): Promise<boolean> {
    try {
      await attempt(`buildrequests/${id}`, method, params);
      taken += 1;
    } catch (error) {
      refused.push(error instanceof ApiError ? error.message : String(error));
      return error instanceof ApiError && ![0, 401, 403].includes(error.status);
    }
    return true;
  }

  async function go(): Promise<void> {
    for (let id = others.pop(); id !== undefined; id = others.pop()) await one(id);
  }

  // The first one alone, because it may have to be asked who calls.
  if (await one(first)) await Promise.all(Array.from({ length: AT_ONCE }, go));
  if (taken) notify(done(taken));
  if (refused.length)
    notify(
      `${tn(refused.length, "One request was refused:", "{n} requests were refused:")} ${refused[0] ?? ""}`,
      true,
    );
}

export async function cancel(ids: readonly number[], reason: string): Promise<void> {
  await each(ids, "cancel", reason ? { reason } : {}, (count) =>
    tn(count, "The request is cancelled.", "{n} requests are cancelled."),
  );
}

export async function prioritise(ids: readonly number[], priority: number): Promise<void> {
  await each(ids, "set_priority", { priority }, (count) =>
    tn(count, "The request has priority {priority}.", "{n} requests have priority {priority}.", { priority }),
  );
}
