// The server's REST API. Addresses are relative to the page, so that any path prefix of a proxy works.

const TIMEOUT_MS = 3000;

async function get(path) {
  const response = await fetch(path, {
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) {
    throw Object.assign(new Error(`the server answers ${response.status}`), { status: response.status });
  }
  return response.json();
}

/** Who the server takes this browser for: {name, kind, role, …}; throws when it does not answer. */
export const fetchMe = () => get("api/v1/me");

/** What every camera is doing now; throws when the server does not answer. */
export const fetchCameras = () => get("api/v1/cameras");

/** STUN servers, as RTCPeerConnection takes them; throws when the server does not answer. */
export const fetchIceServers = () => get("api/v1/ice-servers");

/** The address of the signaling WebSocket. */
export function socketAddress() {
  const address = new URL("ws", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  return address;
}
