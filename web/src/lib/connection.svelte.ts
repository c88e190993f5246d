// The one connection of the page for events, and its state for those who show it.

import { Events, type State } from "./events";

export const connection = $state<{ state: State; retryAt: number }>({ state: "connecting", retryAt: 0 });

function socketUrl(): string {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.search = "";
  return url.href;
}

export const events = new Events(socketUrl(), (told) => Object.assign(connection, told));
