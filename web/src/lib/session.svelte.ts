// Who reads the page, what they may do, and what the master says of itself before anything else (`/config`).

import { ApiError, readJson, useToken } from "./api";
import { heardFromMaster } from "./clock.svelte";
import { events } from "./connection.svelte";

export interface Verdict {
  /** null: that depends on which thing it is of; the master says so when it is tried. */
  allowed: boolean | null;
  /** Why not. */
  message: string;
}

/** A page of the configuration's own, at `plugins/wsgi_dashboards/NAME/`. */
export interface Dashboard {
  name: string;
  caption: string;
  order: number;
}

export interface Config {
  title: string;
  titleURL: string;
  buildbotURL: string;
  multiMaster: boolean;
  versions: [string, string][];
  user: { anonymous: boolean; username?: string; full_name?: string; email?: string; groups?: string[] };
  /** How one logs in; `loginUri` is there if one can. */
  auth: { name: string; oauth2?: boolean; autologin?: boolean; loginUri?: string; logoutUri?: string };
  plugins: { wsgi_dashboards?: Dashboard[] };
  /** By the plural of a thing's kind and the method. */
  permissions: Record<string, Record<string, Verdict>>;
}

export const session = $state<{
  config: Config | undefined;
  failed: string;
  /** The dialog that asks who reads is open, for this reason. */
  asked: string | undefined;
}>({ config: undefined, failed: "", asked: undefined });

let answered: ((done: boolean) => void) | undefined;

export async function loadConfig(): Promise<void> {
  try {
    // Never from a cache, so its date is the present.
    const heard = (headers: Headers) => heardFromMaster(headers.get("Date"));
    session.config = await readJson<Config>("config", {}, undefined, heard);
    session.failed = "";
    goToLogin(session.config);
  } catch (error) {
    session.failed = (error as Error).message;
  }
}

/** A master that logs everybody in by itself sends them on their way, once a tab: who is refused there stays here. */
function goToLogin({ auth, user }: Config): void {
  if (!auth.autologin || !auth.oauth2 || !user.anonymous || sessionStorage.getItem("sent")) return;
  sessionStorage.setItem("sent", "1");
  location.assign(loginAddress());
}

/** The dashboards of the configuration, in the menu's order. */
export function dashboards(): Dashboard[] {
  return [...(session.config?.plugins.wsgi_dashboards ?? [])].sort((a, b) => a.order - b.order);
}

/** Whether the reader may do something, as far as is known beforehand. */
export function may(kind: string, method: string): Verdict {
  return session.config?.permissions[kind]?.[method] ?? { allowed: true, message: "" };
}

/** Whether the reader, who isn't logged in, could be. */
export function canLogIn(): boolean {
  return Boolean(session.config?.user.anonymous && session.config.auth.loginUri);
}

/** Whether the reader could say who they are: by logging in or, where nobody logs in, by an API token. */
export function canIdentify(): boolean {
  const { user, auth } = session.config ?? {};
  return Boolean(user?.anonymous && (auth?.loginUri || auth?.name === "NoAuth"));
}

/** Have the reader say who they are, for this reason; gives whether they did. */
export async function identify(why = ""): Promise<boolean> {
  if (!canIdentify()) return false;
  answered?.(false);
  session.asked = why;
  return new Promise((resolve) => (answered = resolve));
}

/** Close the dialog that asks. */
export function answer(done: boolean): void {
  session.asked = undefined;
  answered?.(done);
  answered = undefined;
}

/** Act with an API token until the tab is closed. */
export async function giveToken(token: string): Promise<void> {
  useToken(token);
  await loadConfig();
  events.restart();
}

/** Log in with a name and a password; raises ApiError where they are refused. */
export async function logIn(username: string, password: string): Promise<void> {
  await post("auth/login", { username, password });
  await loadConfig();
  events.restart();
}

export async function logOut(): Promise<void> {
  useToken(null);
  if (session.config?.auth.logoutUri) await post("auth/logout", {});
  await loadConfig();
  events.restart();
}

/** Where a login at another server begins; it ends at the place where the reader is now. */
export function loginAddress(): string {
  return `${session.config?.auth.loginUri ?? "auth/login"}?redirect=${encodeURIComponent(location.hash.slice(1))}`;
}

async function post(path: string, body: unknown): Promise<void> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The master doesn't answer.");
  }
  if (response.ok) return;
  const told = (await response.json().catch(() => ({}))) as { error?: unknown };
  throw new ApiError(
    response.status,
    typeof told.error === "string" ? told.error : `The master answered ${response.status}.`,
  );
}
