// The public data API: reading, acting, and events. Everything else on this page goes through here.

let token = sessionStorage.getItem("token");

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Objects at a path of the data API, with the number of all there are in `total`.
export async function read(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const each of [value].flat()) query.append(name, each);
  }
  const response = await fetch(`api/v2/${path}${query.size ? `?${query}` : ""}`, {
    headers: { Accept: "application/json" },
  });
  const body = await response.json();
  if (!response.ok) throw new ApiError(response.status, body.error);
  const [plural] = Object.keys(body).filter((name) => name !== "meta");
  const found = body[plural];
  found.total = body.meta.total;
  return found;
}

// Call a method of what is at the path. Repeats itself with a token when one is needed.
export async function act(path, method, params = {}, askForToken = async () => null) {
  const key = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  for (;;) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    if (token) headers.Authorization = `Bearer ${token}`;
    const response = await fetch(`api/v2/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
    const body = await response.json();
    if (response.ok) return body.result;
    if (response.status === 401) {
      token = await askForToken();
      if (token) {
        sessionStorage.setItem("token", token);
        continue;
      }
    }
    throw new ApiError(response.status, explain(body.error));
  }
}

function explain(error) {
  const message = error?.message ?? error ?? "no answer";
  if (typeof message === "string") return message;
  return Object.entries(message).map(([name, text]) => (name ? `${name}: ${text}` : text)).join("; ");
}

// Events by WebSocket, connected again whenever they break off. `onState` is told whether they come; each time they
// come again, things were missed, so `onState(true)` is the moment to read everything.
export class Events {
  constructor(onState) {
    this.onState = onState;
    this.listeners = new Map();
    this.pause = 500;
    this.count = 0;
    this.connect();
  }

  connect() {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    this.socket = new WebSocket(url);
    this.socket.onopen = () => {
      this.pause = 500;
      for (const path of this.listeners.keys()) this.send("startConsuming", path);
      this.onState(true);
    };
    this.socket.onmessage = (message) => this.take(JSON.parse(message.data));
    this.socket.onclose = () => {
      this.onState(false);
      setTimeout(() => this.connect(), this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(this.pause * 2, 15000);
    };
  }

  // Have `listener(event, thing, key)` called for the events of a path; gives what ends it.
  listen(path, listener) {
    const listeners = this.listeners.get(path) ?? new Set();
    if (!listeners.size) {
      this.listeners.set(path, listeners);
      this.send("startConsuming", path);
    }
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (!listeners.size && this.listeners.delete(path)) this.send("stopConsuming", path);
    };
  }

  send(cmd, path) {
    this.count += 1;
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ cmd, path, _id: this.count }));
  }

  take(message) {
    if (!message.k) return;
    const key = message.k.split("/");
    for (const [path, listeners] of this.listeners) {
      const parts = path.split("/");
      if (parts.length === key.length && parts.every((part, i) => part === "*" || part === key[i])) {
        for (const listener of [...listeners]) listener(key[key.length - 1], message.m, key);
      }
    }
  }
}
