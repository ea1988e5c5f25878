// A table that is fed once a second and stays calm: only cells that differ are touched, and the rows keep their
// places while somebody is at them.

import { make, mark, say } from "../shared/dom.js";
import { language } from "../shared/texts.js";
import { isKnown } from "./words.js";

/** As people sort: `cam2` before `cam10`. */
export const compareWords = new Intl.Collator(language, { numeric: true }).compare;

/** What is not known stands behind everything else, whichever way. */
function compare(one, other, sign) {
  if (!isKnown(one) || !isKnown(other)) return isKnown(other) - isKnown(one);
  if (typeof one === "string") return sign * compareWords(one, other);
  return sign * (one - other);
}

const kindOf = (column) => (column.number ? "number" : column.class);

/**
 * A column is `{id, title, order, falls, number, class, text, build}`: `order(item)` gives what it is sorted by,
 * `falls`: the largest first; `number` and `class` say how it looks; `text(item)` gives the words of a cell, or
 * `build(cell, row)` fills it once and gives what is called with each new item. `row.item` is the newest one.
 */
export class Table {
  #body;
  #columns;
  #key;
  #headers = new Map();
  #rows = new Map();
  #items = [];
  #order = null; // the keys as they are to stand; null while that is not known
  #sorted;
  #falling = false;

  /** `key(item)` names an item for good; `sorted` is the column by which the table is sorted at first. */
  constructor(table, columns, key, sorted) {
    this.#columns = columns;
    this.#key = key;
    this.#body = make("tbody");
    table.append(make("thead", {}, make("tr", {}, ...columns.map((column) => this.#header(column)))), this.#body);
    this.#sortBy(columns.find(({ id }) => id === sorted));
  }

  #header(column) {
    const kind = kindOf(column);
    if (!column.order) return make("th", { scope: "col", class: kind }, column.title);
    const sort = () => {
      this.#sortBy(column);
      this.update(this.#items);
      this.settle();
    };
    const button = make("button", { type: "button", class: "quiet sort", onclick: sort }, column.title);
    const header = make("th", { scope: "col", class: kind }, button);
    this.#headers.set(column.id, header);
    return header;
  }

  #sortBy(column) {
    this.#falling = column === this.#sorted ? !this.#falling : Boolean(column.falls);
    this.#sorted = column;
    for (const [id, header] of this.#headers) {
      mark(header, "aria-sort", id === column.id ? (this.#falling ? "descending" : "ascending") : null);
    }
  }

  /** Shows these items, given in their natural order, which decides between equals. */
  update(items) {
    this.#items = items;
    this.#order = null;
    const keys = new Set(items.map(this.#key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    for (const item of items) this.#row(item);
    if (!this.#held) this.#place();
  }

  /** Puts every row in its place now, also while somebody is at them; what has the focus keeps it. */
  settle() {
    const focused = this.#body.contains(document.activeElement) ? document.activeElement : null;
    this.#place();
    focused?.focus();
  }

  /** The keys as they stand in the table, or will when nobody is at it any more. */
  get order() {
    const sign = this.#falling ? -1 : 1;
    const { order } = this.#sorted;
    this.#order ??= this.#items.toSorted((one, other) => compare(order(one), order(other), sign)).map(this.#key);
    return this.#order;
  }

  /** Somebody points at a row, is in one with the keyboard, or has marked text in one. */
  get #held() {
    const selection = getSelection();
    return this.#body.matches(":hover") || this.#body.contains(document.activeElement)
      || (!selection.isCollapsed && this.#body.contains(selection.anchorNode));
  }

  #row(item) {
    const key = this.#key(item);
    if (!this.#rows.has(key)) {
      const row = { item, element: make("tr"), shows: [] };
      for (const column of this.#columns) row.shows.push(this.#cell(column, row));
      this.#body.append(row.element);
      this.#rows.set(key, row);
    }
    const row = this.#rows.get(key);
    row.item = item;
    for (const show of row.shows) show(item);
  }

  #cell(column, row) {
    const cell = make("td", { class: kindOf(column) });
    row.element.append(cell);
    return column.build ? column.build(cell, row) : (item) => say(cell, column.text(item));
  }

  #place() {
    let next = this.#body.firstElementChild;
    for (const key of this.order) {
      const { element } = this.#rows.get(key);
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
  }
}
