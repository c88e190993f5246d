// Who reads the page, and what the master says of itself before anything else.

import { readJson } from "./api";

export interface Config {
  title: string;
  titleURL: string;
  buildbotURL: string;
  multiMaster: boolean;
  versions: [string, string][];
  user: { anonymous: boolean; username?: string; full_name?: string; email?: string; groups?: string[] };
}

export const session = $state<{ config: Config | undefined; failed: string }>({
  config: undefined,
  failed: "",
});

export async function loadConfig(): Promise<void> {
  try {
    session.config = await readJson<Config>("config");
    session.failed = "";
  } catch (error) {
    session.failed = (error as Error).message;
  }
}
