// Doing something at the master on a reader's behalf: what came of it is said in a notice, and where the master
// wants to know first who asks, the dialog for that opens and the same call is made again.

import { t } from "../i18n/index.svelte";
import { ApiError, call } from "./api";
import { identify } from "./session.svelte";

export interface Notice {
  id: number;
  text: string;
  bad: boolean;
}

export const notices = $state<{ list: Notice[] }>({ list: [] });
/** How often something was done: whoever shows what people did reads it again. */
export const acted = $state({ times: 0 });
let count = 0;

export function notify(text: string, bad = false): void {
  count += 1;
  const id = count;
  notices.list.push({ id, text, bad });
  setTimeout(() => dismiss(id), bad ? 12_000 : 5_000);
}

export function dismiss(id: number): void {
  notices.list = notices.list.filter((each) => each.id !== id);
}

/** Call a method; raises ApiError where it is refused (after the reader gave up to say who they are). */
export async function attempt<T>(
  path: string,
  method: string,
  params: Record<string, unknown> = {},
): Promise<T> {
  const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  for (;;) {
    try {
      const result = await call<T>(path, method, params, key);
      acted.times += 1;
      return result;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      if (!(await identify(error.message))) throw error;
    }
  }
}

/** Call a method and say what came of it; gives its result, or undefined if it was refused. */
export async function act<T>(
  path: string,
  method: string,
  params: Record<string, unknown> = {},
  done = "",
): Promise<T | undefined> {
  try {
    const result = await attempt<T>(path, method, params);
    if (done) notify(done);
    return result;
  } catch (error) {
    notify(
      error instanceof ApiError ? error.message : t("That didn't work: {error}", { error: String(error) }),
      true,
    );
    return undefined;
  }
}
