// What stands where on a wall: kept in this browser by name, or said whole by an address.
//
//   ?layout=NAME                     one that this browser keeps
//   ?cameras=front,yard&grid=4       one that works everywhere; `cameras` may be left out: all of them
//   &kiosk                           without controls; never asks anything

import { CHOICES } from "./grid.js";

const LAYOUTS = "cctv3.layouts";
const WALL = "cctv3.wall";
const MOST_CAMERAS = 256;

/** A layout: `cameras` in their order, null for all that there are; `order` of all, as the viewer moved them. */
const EMPTY = { cameras: null, order: [], grid: "auto" };

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise; // blocked storage, or somebody else's words
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // It holds until the page is closed.
  }
}

const names = (value) =>
  Array.isArray(value) ? [...new Set(value.filter((name) => typeof name === "string"))].slice(0, MOST_CAMERAS) : null;

const grid = (value) => (CHOICES.includes(Number(value)) ? Number(value) : "auto");

function layoutOf(value) {
  return { cameras: names(value?.cameras), order: names(value?.order) ?? [], grid: grid(value?.grid) };
}

/** What an address asks for: {name, layout, kiosk}; `layout` null where it names none. */
export function fromAddress(search) {
  const wishes = new URLSearchParams(search);
  const kiosk = wishes.has("kiosk");
  if (wishes.has("cameras") || wishes.has("grid")) {
    const cameras = wishes.has("cameras") ? wishes.get("cameras").split(",").filter(Boolean) : null;
    return { name: null, layout: layoutOf({ cameras, grid: wishes.get("grid") }), kiosk };
  }
  const name = wishes.get("layout");
  return { name, layout: name === null ? null : (saved().get(name) ?? null), kiosk };
}

/** The address, from `?` on, that says a layout whole. */
export function toAddress(layout, shown, kiosk) {
  const wishes = new URLSearchParams();
  // Camera names need no escapes, nor does the comma in a query (RFC 3986 section 3.4).
  const cameras = layout.cameras || layout.order.length ? `cameras=${shown.join(",")}` : "";
  wishes.set("grid", layout.grid);
  if (kiosk) wishes.set("kiosk", "");
  return `?${[cameras, wishes.toString()].filter(Boolean).join("&")}`;
}

/** The layouts that this browser keeps, by name. */
export function saved() {
  return new Map(Object.entries(read(LAYOUTS, {})).map(([name, layout]) => [name, layoutOf(layout)]));
}

export function save(name, layout) {
  write(LAYOUTS, { ...read(LAYOUTS, {}), [name]: layout });
}

export function forget(name) {
  const left = { ...read(LAYOUTS, {}) };
  delete left[name];
  write(LAYOUTS, left);
}

/** The wall of all cameras as it was left. */
export const lastWall = () => layoutOf(read(WALL, EMPTY));

export const keepWall = (layout) => write(WALL, layout);

/** The names to show, in order, of those that there are. */
export function arranged(layout, available) {
  if (layout.cameras !== null) return layout.cameras;
  const known = layout.order.filter((name) => available.includes(name));
  return [...known, ...available.filter((name) => !known.includes(name))];
}
