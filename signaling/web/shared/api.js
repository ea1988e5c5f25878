// The server's REST API. Addresses are relative to this file's, so that any path prefix of a proxy works.

import { t } from "./texts.js";

const ROOT = new URL("../", import.meta.url);
const TIMEOUT_MS = 3000;

let token = null;

/** Says who this page is by a view link's token instead of the browser's cookie; pages in foreign frames need it. */
export function useToken(value) {
  token = value;
}

/** What the server refused: `status` as in HTTP, the message for people (RFC 9457), when to come again. */
export class Refused extends Error {
  constructor(status, detail, retryAfterS = 0) {
    super(detail);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * The answer to a request; throws Refused, or another error when there is none within `timeoutMs`. An answer that
 * goes on, as a stream does, takes a `signal` that ends it instead.
 */
export async function ask(method, path, { body, headers = {}, timeoutMs = TIMEOUT_MS, signal } = {}) {
  const response = await fetch(new URL(path, ROOT), {
    method,
    cache: "no-store",
    headers: {
      ...headers,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ?? AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({}));
    throw new Refused(
      response.status,
      detail ?? t("server.answers", { status: response.status }),
      Number(response.headers.get("Retry-After")) || 0,
    );
  }
  return response;
}

const get = async (path) => (await ask("GET", path)).json();

/** Who the server takes this browser for: {name, kind, role, …}; throws when it does not answer. */
export const fetchMe = () => get("api/v1/me");

/** What every camera is doing now. */
export const fetchCameras = () => get("api/v1/cameras");

/** STUN servers, as RTCPeerConnection takes them. */
export const fetchIceServers = () => get("api/v1/ice-servers");

/** What each worker does; for operators. */
export const fetchWorkers = () => get("api/v1/workers");

/** Who watches what; for operators. */
export const fetchSessions = () => get("api/v1/sessions");

/** Opens the signaling WebSocket. Browsers send no header of a page's with it, but protocols. */
export function openSocket() {
  const address = new URL("ws", ROOT);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  if (token === null) return new WebSocket(address);
  const said = encodeURIComponent(token).replace(/[()]/g, (sign) => (sign === "(" ? "%28" : "%29"));
  return new WebSocket(address, ["cctv3", `bearer.${said}`]);
}
