// Table of all models (`GET /models`), sortable by each column.

import { html } from "./element.js";
import { counted, milliseconds, percent, steps } from "./words.js";

// Heading, sort key, format.
const COLUMNS = [
  ["Model and version", (row) => `${row.model} ${row.version}`, (row) => named(row)],
  ["Level", (row) => row.level.name],
  ["Accuracy", (row) => row.level.metrics.accuracy, (row) => percent(row.level.metrics.accuracy, 2)],
  ["95% interval", (row) => row.level.accuracy_interval?.[0] ?? null, (row) => interval(row.level)],
  ["NLL", (row) => row.level.metrics.nll, (row) => row.level.metrics.nll.toFixed(3)],
  ["ECE", (row) => row.level.metrics.ece, (row) => percent(row.level.metrics.ece, 2)],
  ["Networks", (row) => row.level.members],
  ["Draws", (row) => row.level.draws],
  ["NLL of their mean", (row) => mean(row)?.nll ?? null, (row) => mean(row)?.nll.toFixed(3) ?? "unknown"],
  ["Draws gain", (row) => mean(row)?.nll_gain ?? null, (row) => gained(mean(row))],
  ["Abstains on", (row) => row.level.metrics.abstained, (row) => share(row.level.metrics.abstained)],
  ["Sets hold the class", (row) => covered(row.level), (row) => held(row.level)],
  ["Pruned", (row) => row.level.sparsity, (row) => percent(row.level.sparsity, 0)],
  ["Size", (row) => row.level.bytes, (row) => steps(row.level.bytes, "B")],
  ["Multiply-adds", (row) => row.level.multiply_adds, (row) => steps(row.level.multiply_adds, "")],
  ["Median time", (row) => row.level.latency_ms.p50, (row) => timed(row.level.latency_ms)],
  ["Answers", (row) => row.level.latency_ms.count],
];
const FIRST_NUMBER = 2;

export class ModelsTable {
  constructor(root) {
    this.sorted = { column: 0, descending: false };
    this.body = html("tbody");
    this.heads = COLUMNS.map(([words], column) => html("th", { scope: "col", class: column >= FIRST_NUMBER ? "number" : "" }, html("button", { type: "button", onclick: () => this.sort(column) }, words)));
    const table = html("table", {}, html("caption", { class: "hidden" }, "All models, versions and levels"), html("thead", {}, html("tr", {}, this.heads)), this.body);
    this.refused = html("ul", { class: "refused" });
    root.append(html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of all models" }, table), this.refused);
  }

  sort(column) {
    const descending = column === this.sorted.column ? !this.sorted.descending : column >= FIRST_NUMBER;
    this.sorted = { column, descending };
    this.show(this.models);
  }

  show(models) {
    this.models = models;
    const versions = models.flatMap(({ name, versions }) => versions.map((version) => ({ model: name, ...version })));
    const rows = versions.flatMap(({ levels, ...version }) => levels.map((level) => ({ ...version, level })));
    this.heads.forEach((head, column) => {
      if (column !== this.sorted.column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", this.sorted.descending ? "descending" : "ascending");
    });
    const ordered = this.ordered(rows);
    this.body.replaceChildren(...ordered.map((row, number) => line({ ...row, again: same(row, ordered[number - 1]) })));
    this.refused.replaceChildren(...versions.filter(({ ready }) => !ready).map(({ model, version, refusal }) => html("li", {}, `${model} ${version} is not served: ${refusal}`)));
  }

  // Levels without a value come last in both directions.
  ordered(rows) {
    const { column, descending } = this.sorted;
    const value = COLUMNS[column][1];
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b) * (descending ? -1 : 1);
    return rows.toSorted((a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === null || other === null) return (one === null) - (other === null);
      return compare(one, other);
    });
  }
}

// Consecutive rows of a version show its name once, and repeat it for screen readers only.
const same = (row, before) => row.version === before?.version && row.model === before.model;

const named = ({ model, version, aliases, again }) => (again ? html("span", { class: "hidden" }, `${model} ${version}`) : [
  html("b", {}, model),
  aliases.map((alias) => html("span", { class: "mark" }, alias)),
  html("span", { class: "version" }, version),
]);

// The mean network in one pass, at a temperature of its own; nats, with the standard error of the paired difference.
const mean = ({ level }) => level.mean_network;

const gained = (figures) => {
  if (!figures) return "unknown";
  const { nll_gain: gain, nll_gain_error: error } = figures;
  return `${gain.toFixed(4)} ± ${error.toFixed(4)}${gain > 2 * error ? "" : gain + 2 * error > 0.01 ? ": too few images to tell" : ": nothing"}`;
};

const covered = ({ coverage, default_alpha: alpha }) => coverage.lac?.[alpha] ?? null;

const held = (level) => (level.default_alpha === null ? "no sets" : `${share(covered(level))} (α = ${level.default_alpha})`);

const interval = ({ accuracy_interval: range, metrics: { test_images: images } }) =>
  range ? `${range.map((each) => percent(each)).join(" to ")} (${counted(images, "picture")})` : "unknown";

const share = (value) => (value === null ? "unknown" : percent(value));

const timed = ({ p50, count }) => (count ? `${milliseconds(p50)} ms` : "not yet");

const line = (row) =>
  html("tr", {}, COLUMNS.map(([, value, words = value], column) => html(column === 1 ? "th" : "td", { scope: column === 1 && "row", class: column >= FIRST_NUMBER ? "number" : "" }, words(row))));
