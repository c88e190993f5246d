// The public data API. Everything that the page shows or does goes through here, so whatever it can do a script
// can do as well.

export type Params = Record<string, string | number | boolean | readonly (string | number)[] | undefined>;

export interface Page<T> {
  items: T[];
  /** How many there are beyond the limit; for a single thing undefined. */
  total: number | undefined;
}

/** What the master refused or couldn't do; the message is for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** For a form: a text per field, by its full name. */
    readonly fields: Record<string, string> = {},
  ) {
    super(message);
  }
}

let token = sessionStorage.getItem("token");

/** Act with this API token until the tab is closed. */
export function useToken(given: string | null): void {
  token = given;
  if (given) sessionStorage.setItem("token", given);
  else sessionStorage.removeItem("token");
}

function headers(more: Record<string, string> = {}): Record<string, string> {
  return { Accept: "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}), ...more };
}

/** The address of a path of the master, relative to where the page lies. */
export function address(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined) continue;
    for (const each of Array.isArray(value) ? value : [value]) query.append(name, String(each));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function answer(path: string, init: RequestInit): Promise<{ response: Response; body: unknown }> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, "The master doesn't answer.");
  }
  try {
    return { response, body: await response.json() };
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(response.status, `The master's answer can't be read (${response.status}).`);
  }
}

/** Read JSON from a path of the master that isn't one of the data API's collections. */
export async function readJson<T>(
  path: string,
  params: Params = {},
  signal?: AbortSignal,
  /** Told what came before the body. */
  heard?: (headers: Headers) => void,
): Promise<T> {
  const { response, body } = await answer(address(path, params), { headers: headers(), signal });
  if (!response.ok) throw refusal(response.status, body);
  heard?.(response.headers);
  return body as T;
}

/** Read the things at a path below `api/v2/`. */
export async function read<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<Page<T>> {
  const body = await readJson<Record<string, unknown>>(`api/v2/${path}`, params, signal);
  const plural = Object.keys(body).find((name) => name !== "meta");
  const meta = body["meta"] as { total?: number };
  return { items: body[plural ?? ""] as T[], total: meta.total };
}

/** Read the single thing at a path. */
export async function readOne<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const [found] = (await read<T>(path, params, signal)).items;
  if (found === undefined) throw new ApiError(404, "There is nothing here.");
  return found;
}

/** Call a method of what is at the path; `key` makes a repetition act once. */
export async function call<T>(
  path: string,
  method: string,
  params: Record<string, unknown> = {},
  key: string = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
): Promise<T> {
  const { response, body } = await answer(`api/v2/${path}`, {
    method: "POST",
    headers: headers({ "Content-Type": "application/json", "Idempotency-Key": key }),
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  if (!response.ok) throw refusal(response.status, body);
  return (body as { result: T }).result;
}

function refusal(status: number, body: unknown): ApiError {
  const error = (body as { error?: unknown } | null)?.error;
  const message =
    typeof error === "object" && error !== null ? (error as { message?: unknown }).message : error;
  if (typeof message === "object" && message !== null) {
    const fields = message as Record<string, string>;
    return new ApiError(status, Object.values(fields).join("; "), fields);
  }
  return new ApiError(status, typeof message === "string" ? message : `The master answered ${status}.`);
}
