// Doing something at the master on a reader's behalf: what came of it is said in a notice, and where the master
// wants to know first who asks, the dialog for that opens and the same call is made again.

import { t } from "../i18n/index.svelte";
import { ApiError, call, useToken } from "./api";

export interface Notice {
  id: number;
  text: string;
  bad: boolean;
}

export const notices = $state<{ list: Notice[] }>({ list: [] });
/** The dialog that asks who acts: its question, and where its answer goes. */
export const asking = $state<{ question: string; answer: ((given: string | null) => void) | null }>({
  question: "",
  answer: null,
});
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

function askForToken(question: string): Promise<string | null> {
  return new Promise((resolve) => {
    asking.question = question;
    asking.answer = (given) => {
      asking.answer = null;
      resolve(given);
    };
  });
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
      const token = await askForToken(error.message);
      if (token === null) throw error;
      useToken(token);
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
