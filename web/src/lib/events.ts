// Events of the master, over one WebSocket that connects again by itself.
//
// An event is a hint that something changed, with the changed thing in it. Events can be missed while the
// connection is away, so whoever shows something reads it anew when `onConnected` says that all that is listened
// to is being listened to again. Reading after that misses nothing.

export type Listener = (event: string, thing: Record<string, unknown>, key: string[]) => void;
export type State = "connecting" | "open" | "lost";

interface Told {
  state: State;
  /** When the next try is due, in ms of `Date.now()`; 0: it is under way. */
  retryAt: number;
}

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
/** A connection of which nothing is heard for so long, not even a pong, is taken for dead. */
const SILENCE = 20_000;

export class Events {
  /** Counts the connections on which all that is listened to became active. */
  generation = 0;
  readonly #url: string;
  readonly #tell: (told: Told) => void;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #connected = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  readonly #unanswered = new Set<number>();
  #socket: WebSocket | undefined;
  #count = 0;
  #pause = FIRST_PAUSE;
  #opening = true;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #heard = 0;

  constructor(url: string, tell: (told: Told) => void) {
    this.#url = url;
    this.#tell = tell;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#wake();
    });
    this.#connect();
  }

  /** Whether everything that is listened to is being listened to by now. */
  get settled(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN && this.#unanswered.size === 0;
  }

  /** Have `listener` told the events of a path (`*` stands for any one element); gives what ends it. */
  listen(path: string, listener: Listener): () => void {
    let listeners = this.#listeners.get(path);
    if (!listeners) {
      listeners = new Set();
      this.#listeners.set(path, listeners);
      this.#send("startConsuming", path);
    }
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(path) === listeners) {
        this.#listeners.delete(path);
        this.#send("stopConsuming", path);
      }
    };
  }

  /** Be told whenever a new connection listens to all that is to be listened to; gives what ends it. */
  onConnected(told: () => void): () => void {
    this.#connected.add(told);
    return () => this.#connected.delete(told);
  }

  /** Wait for all subscriptions to be active, or for `limit` ms. */
  async ready(limit: number): Promise<void> {
    if (this.settled) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, limit);
      this.#waiting.add(done);
    });
  }

  /** Try to connect now. */
  retry(): void {
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return;
    this.#pause = FIRST_PAUSE;
    this.#connect();
  }

  /** Connect anew, as whoever the browser's cookies now say. */
  restart(): void {
    const old = this.#socket;
    this.#socket = undefined;
    old?.close();
    this.#pause = FIRST_PAUSE;
    this.#connect();
  }

  #connect(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#pings);
    this.#tell({ state: this.generation ? "lost" : "connecting", retryAt: 0 });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#heard = Date.now();
      this.#pings = setInterval(() => this.#ping(), SILENCE / 2);
      this.#unanswered.clear();
      this.#opening = true;
      if (this.#listeners.size === 0) this.#send("ping");
      for (const path of this.#listeners.keys()) this.#send("startConsuming", path);
    };
    socket.onmessage = (message) => {
      this.#heard = Date.now();
      this.#take(JSON.parse(String(message.data)) as Frame);
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#lose();
    };
  }

  #lose(): void {
    clearInterval(this.#pings);
    this.#socket = undefined;
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    this.#tell({ state: "lost", retryAt: Date.now() + pause });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #ping(): void {
    if (Date.now() - this.#heard > SILENCE) {
      const dead = this.#socket;
      this.#lose();
      dead?.close();
    } else {
      this.#send("ping");
    }
  }

  /** A tab that slept: its connection may be dead without a word. */
  #wake(): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#ping();
    else this.retry();
  }

  #send(cmd: string, path?: string): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#count += 1;
    this.#unanswered.add(this.#count);
    this.#socket.send(JSON.stringify({ cmd, path, _id: this.#count }));
  }

  #take(frame: Frame): void {
    if (frame.k === undefined) {
      this.#unanswered.delete(frame._id ?? 0);
      if (this.settled) this.#settle();
      return;
    }
    const key = frame.k.split("/");
    for (const [path, listeners] of [...this.#listeners]) {
      if (!matches(path, key)) continue;
      for (const listener of [...listeners]) listener(key[key.length - 1] ?? "", frame.m ?? {}, key);
    }
  }

  #settle(): void {
    if (this.#opening) {
      this.#opening = false;
      this.#pause = FIRST_PAUSE;
      this.generation += 1;
      this.#tell({ state: "open", retryAt: 0 });
      for (const told of [...this.#connected]) told();
    }
    for (const done of [...this.#waiting]) done();
  }
}

interface Frame {
  k?: string;
  m?: Record<string, unknown>;
  _id?: number;
}

export function matches(path: string, key: readonly string[]): boolean {
  const parts = path.split("/");
  return parts.length === key.length && parts.every((part, i) => part === "*" || part === key[i]);
}
