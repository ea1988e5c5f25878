// The WebSocket to the server: reconnects by itself and matches answers to requests.
// Media does not depend on it: while the socket is away, what plays goes on playing.

import { openSocket } from "../shared/api.js";
import { t } from "../shared/texts.js";
import { Backoff } from "./backoff.js";

const CONNECT_TIMEOUT_MS = 4000; // packets that are dropped on the way: TCP alone would try for minutes
const REQUEST_TIMEOUT_MS = 6000; // two workers of 2 s each may be asked in turn

export class RequestFailed extends Error {
  constructor(status, detail, retryAfterS = 0) {
    super(detail);
    this.status = status; // as in HTTP; 0 when no answer came
    this.retryAfterMs = retryAfterS * 1000; // the server asks not to come back sooner
  }
}

const UNSOLICITED = {
  close: "session-closed",
  showing: "session-showing",
  move: "session-move",
  event: "news",
};

/**
 * Events: `open`, `away`; with the server's message as detail `session-closed`, `session-showing`, `session-move`
 * and `news`.
 */
export class Signaling extends EventTarget {
  #socket = null;
  #opened = Promise.resolve();
  #waiting = new Map();
  #lastId = 0;
  #backoff = new Backoff();
  #retry = 0;

  connect() {
    const socket = openSocket();
    this.#socket = socket;
    const deadline = setTimeout(() => this.#abandon(socket), CONNECT_TIMEOUT_MS);
    this.#opened = new Promise((resolve) => {
      socket.onopen = () => {
        clearTimeout(deadline);
        this.#backoff.reset();
        resolve();
        this.dispatchEvent(new Event("open"));
      };
      socket.addEventListener("close", resolve);
    });
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = () => {
      clearTimeout(deadline);
      this.#lost(socket);
    };
  }

  /** Tries again now, unless it is open: the network is back. */
  hurry() {
    if (this.isOpen) return;
    if (this.#socket !== null) this.#abandon(this.#socket);
    clearTimeout(this.#retry);
    this.#backoff.reset();
    this.connect();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Waits for a socket that is being opened; throws RequestFailed when there is none then. */
  async opened() {
    if (this.#socket?.readyState === WebSocket.CONNECTING) await this.#opened;
    if (!this.isOpen) throw new RequestFailed(0, t("server.unreachable"));
  }

  /** Sends a request and gives the answer; throws RequestFailed. */
  async request(message) {
    await this.opened();
    const id = ++this.#lastId;
    const socket = this.#socket;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new RequestFailed(0, t("server.silent")));
        this.#abandon(socket); // dead without knowing it; TCP would give up later
      }, REQUEST_TIMEOUT_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ ...message, id }));
    });
  }

  /** Sends a message that has no answer worth waiting for. */
  tell(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  #receive(message) {
    const waiting = this.#waiting.get(message.id);
    if (waiting) {
      this.#waiting.delete(message.id);
      clearTimeout(waiting.timer);
      if (message.type === "error") {
        waiting.reject(new RequestFailed(message.status, message.detail, message.retry_after));
      } else {
        waiting.resolve(message);
      }
    } else if (message.type in UNSOLICITED) {
      this.dispatchEvent(new CustomEvent(UNSOLICITED[message.type], { detail: message }));
    }
  }

  #abandon(socket) {
    socket.onclose = null;
    socket.close();
    this.#lost(socket);
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new RequestFailed(0, t("server.broke")));
    }
    this.#waiting.clear();
    this.dispatchEvent(new Event("away"));
    this.#retry = setTimeout(() => this.connect(), this.#backoff.next());
  }
}
