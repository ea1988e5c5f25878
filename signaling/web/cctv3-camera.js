// <cctv3-camera camera="front" token="view-…" muted controls>: a live camera in a page of any site.
//
// It is a frame of the server that this file came from, so that the page around it cannot look into the picture. The
// settings are in the fragment of the frame's address, which browsers send nowhere.
//
// Event `cctv3-state`, several times a second, with detail {camera, state, stale, ageMs, reason}.

const SERVER = new URL("./", import.meta.url);
const MAY = "autoplay; fullscreen; picture-in-picture";
const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  :host { display: block; aspect-ratio: 16 / 9; }
  :host([hidden]) { display: none; }
  iframe { display: block; width: 100%; height: 100%; border: 0; }
`);

class Camera extends HTMLElement {
  static observedAttributes = ["camera", "token", "muted", "controls", "title"];

  #frame = null;
  #changing = false;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [STYLE];
  }

  connectedCallback() {
    addEventListener("message", this.#receive);
    this.#changed();
  }

  disconnectedCallback() {
    removeEventListener("message", this.#receive);
    this.#clear();
  }

  attributeChangedCallback() {
    this.#changed();
  }

  /** Attributes that change together are one change. */
  async #changed() {
    if (this.#changing) return;
    this.#changing = true;
    await null;
    this.#changing = false;
    if (!this.isConnected) return;
    if (this.getAttribute("camera")) this.#show(this.getAttribute("camera"));
    else this.#clear();
  }

  #show(camera) {
    const address = this.#address(camera);
    if (this.#frame) {
      // Not by `src`, which would make each change a step in the history of the page around it.
      this.#frame.contentWindow.location.replace(address);
    } else {
      this.#frame = document.createElement("iframe");
      this.#frame.allow = MAY;
      this.#frame.src = address;
      this.shadowRoot.append(this.#frame);
    }
    this.#frame.title = this.title || `Camera ${camera}`;
  }

  #clear() {
    this.#frame?.remove();
    this.#frame = null;
  }

  #address(camera) {
    const address = new URL(`embed/${encodeURIComponent(camera)}`, SERVER);
    const settings = new URLSearchParams();
    if (this.getAttribute("token")) settings.set("token", this.getAttribute("token"));
    for (const name of ["muted", "controls"]) {
      if (this.hasAttribute(name)) settings.set(name, "");
    }
    address.hash = settings;
    return address.href;
  }

  #receive = ({ source, origin, data }) => {
    if (source !== this.#frame?.contentWindow || origin !== SERVER.origin || data?.type !== "cctv3-state") return;
    const { camera, phase, stale, ageMs, reason } = data;
    const detail = { camera, state: phase, stale, ageMs, reason };
    this.dispatchEvent(new CustomEvent("cctv3-state", { detail, bubbles: true }));
  };
}

customElements.define("cctv3-camera", Camera);
