// The grid of tiles: which there are, where they stand, which of them play.

import { Tile } from "../tile/tile.js";
import { say } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { Drag } from "./drag.js";
import { gridOf } from "./grid.js";
import { arranged } from "./layouts.js";

const TICK_MS = 200;
const OUT_OF_VIEW_MS = 3000; // who scrolls past, or looks at another tile for a moment, finds it playing
const HIDDEN_MS = 10_000; // of the whole page: another tab
const GONE_MS = 60_000; // a camera that is not listed any more is told of for so long
const TOOLS = [
  "sound", "snapshot", "replay", "zoom-out", "zoom-in", "quality", "pip", "full", "statistics", "why", "enlarge", "remove",
];

/**
 * Events: `change` (of the chosen tile, or what is known of it), `arranged` (the viewer moved tiles), `listed`, `why`,
 * `statistics`, `enlarge` (asked for: a camera, or null).
 */
export class Wall extends EventTarget {
  layout = { cameras: null, order: [], grid: "auto" };

  #page;
  #element;
  #spoken;
  #tiles = new Map(); // by camera, in the order of the layout
  #inView = new Set();
  #unwantedSince = new Map(); // tile -> performance.now()
  #goneSince = new Map();
  #large = null;
  #focused = null;
  #listed = null; // names that the server lists, null before it has
  #overlay = false;
  #columns = 1;
  #observer;

  /** `element` is the scrolling grid, `spoken` says to screen readers what was moved. */
  constructor(page, element, spoken) {
    super();
    this.#page = page;
    this.#element = element;
    this.#spoken = spoken;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), {
      root: element,
      rootMargin: "20%",
    });
    new ResizeObserver(() => this.arrange()).observe(element);
    new Drag(
      element,
      () => this.#large === null && this.#tiles.size > 1,
      (tile, over, after) => this.#put(tile, over, after),
      () => this.#arranged(),
    );
    element.addEventListener("focusin", ({ target }) => this.#focus(target.closest(".tile")));
    setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.#tick());
  }

  get tiles() {
    return [...this.#tiles.values()];
  }

  get large() {
    return this.#large;
  }

  /** The tile that keys and the side panel are about. */
  get chosen() {
    return this.#large ?? this.#focused ?? this.tiles[0] ?? null;
  }

  tile(camera) {
    return this.#tiles.get(camera) ?? null;
  }

  set overlay(shown) {
    this.#overlay = shown;
    for (const tile of this.tiles) tile.overlay = shown;
  }

  /** Takes in the server's list of cameras. */
  list(cameras) {
    this.#listed = cameras.map(({ name }) => name);
    const known = new Map(cameras.map((camera) => [camera.name, camera]));
    for (const tile of this.tiles) {
      if (known.has(tile.camera)) this.#goneSince.delete(tile);
      else if (!this.#goneSince.has(tile)) this.#goneSince.set(tile, performance.now());
    }
    this.#settle();
    for (const tile of this.tiles) tile.listed(known.get(tile.camera) ?? null);
    this.dispatchEvent(new Event("listed"));
  }

  /** The server does not answer. */
  unlisted() {
    for (const tile of this.tiles) tile.unlisted();
  }

  /** Shows another layout. */
  apply(layout) {
    this.layout = layout;
    this.#settle();
    this.arrange();
  }

  /** Fills the whole wall with one camera, or with none of them again; another one may take its place. */
  enlarge(camera) {
    const tile = camera === null ? null : (this.#tiles.get(camera) ?? null);
    if (tile === this.#large) return;
    const before = this.#large;
    this.#large = tile;
    this.#element.classList.toggle("has-large", tile !== null);
    before?.enlarge(false);
    tile?.enlarge(true);
    if (tile) this.#focus(tile.element);
    (tile ?? before)?.element.focus({ preventScroll: true });
    this.#tick();
    this.#changed();
  }

  /** Goes to a neighbour: `right` and `down` are -1, 0 or 1. */
  step(right, down) {
    const tiles = this.tiles;
    const at = tiles.indexOf(this.chosen);
    if (at < 0) return null;
    const next = tiles[at + right + down * this.#columns];
    if (!next) return null;
    next.element.focus();
    return next;
  }

  /** Moves the chosen tile among the others. */
  moveChosen(right, down) {
    const tiles = this.tiles;
    const tile = this.chosen;
    const at = tiles.indexOf(tile);
    const to = at + right + down * this.#columns;
    if (at < 0 || to < 0 || to >= tiles.length) return;
    this.#put(tile.element, tiles[to].element, to > at);
    this.#arranged();
    tile.element.focus();
    say(this.#spoken, t("tile.moved", { camera: tile.camera, place: to + 1 }));
  }

  /** Takes a camera off the wall. */
  remove(camera) {
    const cameras = [...this.#tiles.keys()].filter((name) => name !== camera);
    // One that is not listed stays away by itself.
    if (this.layout.cameras || this.#listed.includes(camera)) {
      this.layout = { ...this.layout, cameras };
      this.#arranged();
    }
    this.#dispose(camera);
    this.arrange();
  }

  /** Gives the tiles their places; after a change of size or number. */
  arrange() {
    const { clientWidth: width, clientHeight: height } = this.#element;
    if (!width || !height) return;
    const { columns, rowPx } = gridOf(this.#tiles.size, this.layout.grid, width, height);
    this.#columns = columns;
    this.#element.style.setProperty("--columns", columns);
    this.#element.style.setProperty("--row", `${rowPx}px`);
    for (const tile of this.tiles) tile.fit();
  }

  /** Makes the tiles that the layout wants, in its order, and ends the others. */
  #settle() {
    if (this.#listed === null && this.layout.cameras === null) return;
    const wanted = arranged(this.layout, this.layout.cameras ? [] : this.#available());
    const before = [...this.#tiles.keys()];
    for (const camera of before) {
      const shown = wanted.includes(camera) || (this.layout.cameras === null && this.#tiles.has(camera));
      if (!shown) this.#dispose(camera);
    }
    for (const camera of wanted) {
      if (!this.#tiles.has(camera)) this.#add(camera);
    }
    const order = [...wanted, ...[...this.#tiles.keys()].filter((camera) => !wanted.includes(camera))];
    if (order.join() !== [...this.#tiles.keys()].join() || order.length !== before.length) {
      this.#tiles = new Map(order.map((camera) => [camera, this.#tiles.get(camera)]));
      order.forEach((camera, place) => {
        this.#place(this.#tiles.get(camera).element, this.#element.children[place]);
      });
      this.arrange();
    }
  }

  /** What is listed, and each that was until a moment ago in its place. */
  #available() {
    const available = [...this.#listed];
    let place = 0;
    for (const tile of this.tiles) {
      const { camera } = tile;
      if (this.#goneSince.has(tile) && !available.includes(camera)) available.splice(place, 0, camera);
      place = available.indexOf(camera) + 1 || place;
    }
    return available;
  }

  #add(camera) {
    const tile = new Tile(this.#page, camera, TOOLS);
    const pass = (kind) => tile.addEventListener(kind, () => this.#pass(kind, tile));
    ["enlarge", "shrink", "why", "statistics"].forEach(pass);
    tile.addEventListener("change", () => {
      if (tile === this.chosen) this.#changed();
    });
    tile.addEventListener("audible", () => {
      for (const other of this.tiles) if (other !== tile && !other.isMuted) other.mute(true);
    });
    tile.addEventListener("remove", () => this.remove(camera));
    tile.element.tabIndex = this.#tiles.size === 0 ? 0 : -1;
    tile.element.setAttribute("role", "group");
    tile.overlay = this.#overlay;
    this.#tiles.set(camera, tile);
    this.#element.append(tile.element);
    this.#observer.observe(tile.element);
  }

  #dispose(camera) {
    const tile = this.#tiles.get(camera);
    if (!tile) return;
    if (tile === this.#large) this.#askFor(null);
    if (tile === this.#focused) this.#focused = null;
    this.#tiles.delete(camera);
    this.#observer.unobserve(tile.element);
    this.#inView.delete(tile);
    this.#unwantedSince.delete(tile);
    this.#goneSince.delete(tile);
    tile.dispose();
    // Tab finds the wall by the one that has it.
    if (!this.#focused && this.tiles.length) this.tiles[0].element.tabIndex = 0;
  }

  #pass(kind, tile) {
    if (kind === "enlarge" || kind === "shrink") {
      this.#askFor(kind === "enlarge" ? tile.camera : null);
      return;
    }
    this.#focus(tile.element);
    this.dispatchEvent(new CustomEvent(kind, { detail: tile }));
  }

  /** Has a camera enlarged, or none; by whoever keeps the address in step with that. */
  #askFor(camera) {
    this.dispatchEvent(new CustomEvent("enlarge", { detail: camera }));
  }

  #focus(element) {
    const tile = this.tiles.find((each) => each.element === element);
    if (!tile || tile === this.#focused) return;
    for (const each of this.tiles) each.element.tabIndex = each === tile ? 0 : -1;
    this.#focused = tile;
    this.#changed();
  }

  /** Puts an element before another, or at the end. Moving keeps a playing video where the browser can do that. */
  #place(element, next = null) {
    if (next === element) return;
    if (this.#element.moveBefore) {
      this.#element.moveBefore(element, next);
    } else {
      this.#element.insertBefore(element, next);
      element.querySelector("video").play().catch(() => {});
    }
  }

  #put(element, over, after) {
    const places = [...this.#element.children];
    if (!places.includes(element) || !places.includes(over)) return; // it is gone meanwhile
    places.splice(places.indexOf(element), 1);
    places.splice(places.indexOf(over) + (after ? 1 : 0), 0, element);
    this.#place(element, places[places.indexOf(element) + 1]);
    const order = places.map((each) => each.dataset.camera);
    this.#tiles = new Map(order.map((camera) => [camera, this.#tiles.get(camera)]));
    // At once, not when it is let go of: the next list would put all back.
    this.layout = this.layout.cameras ? { ...this.layout, cameras: order } : { ...this.layout, order };
  }

  #arranged() {
    this.dispatchEvent(new Event("arranged"));
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const tile = this.#tiles.get(target.dataset.camera);
      if (!tile) continue;
      if (isIntersecting) this.#inView.add(tile);
      else this.#inView.delete(tile);
    }
    this.#tick();
  }

  #tick() {
    const now = performance.now();
    for (const tile of this.tiles) {
      const inView = tile === this.#large || (this.#inView.has(tile) && this.#large === null);
      const looked = inView && !document.hidden;
      if (this.#listed === null) continue;
      if (looked || document.pictureInPictureElement === tile.video) {
        this.#unwantedSince.delete(tile);
        tile.start();
      } else if (tile.player.phase !== "idle" && tile.player.phase !== "released") {
        const since = this.#unwantedSince.get(tile) ?? now;
        this.#unwantedSince.set(tile, since);
        if (now - since >= (document.hidden ? HIDDEN_MS : OUT_OF_VIEW_MS)) tile.player.release();
      }
      const gone = this.layout.cameras === null && now - (this.#goneSince.get(tile) ?? now) > GONE_MS;
      if (gone && tile !== this.#large) {
        this.#dispose(tile.camera);
        this.arrange();
      } else {
        tile.update();
      }
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
