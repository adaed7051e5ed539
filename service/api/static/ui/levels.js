// Plot all levels of a version: quality against cost, Pareto front, file size as area.

import { fitted, scale, ticks } from "./axis.js";
import { html, svg, text } from "./element.js";
import { COSTS, QUALITIES, front } from "./measures.js";
import { Segmented } from "./segmented.js";
import { steps } from "./words.js";

const HEIGHT = 360;
const EDGE = { left: 58, right: 24, top: 22, bottom: 46 };
const LARGEST = 26;
const LINE = 15;

export class LevelsPlot {
  // `choose` is called with the level that was pressed.
  constructor(root, choose) {
    this.choose = choose;
    [this.cost, this.quality] = ["multiply_adds", "accuracy"];
    const of = (measures) => Object.entries(measures).map(([value, { name }]) => [value, name]);
    this.costs = new Segmented("cost", "Across", (cost) => this.show({ cost }));
    this.qualities = new Segmented("quality", "Up", (quality) => this.show({ quality }));
    this.options = [of(COSTS), of(QUALITIES)];
    this.plot = svg("svg", { class: "plot levels-plot", role: "group", height: HEIGHT, "aria-label": "Levels" });
    this.note = html("p", { class: "fine" });
    root.append(html("div", { class: "row" }, this.qualities.element, this.costs.element), this.plot, this.note);
    this.redraw = fitted(root, (width) => this.draw(width));
  }

  // Update any of: `levels` with milliseconds, `from` where these come, name of the `chosen` level, `cost`, `quality`.
  show(what) {
    Object.assign(this, what);
    this.costs.show(this.options[0], this.cost);
    this.qualities.show(this.options[1], this.quality);
    this.redraw();
  }

  draw(width) {
    if (!this.levels) return;
    const [cost, quality] = [COSTS[this.cost], QUALITIES[this.quality]];
    const known = this.levels.filter((level) => cost.value(level) !== null);
    const missing = this.levels.filter((level) => cost.value(level) === null).map(({ name }) => name);
    const notes = [
      this.cost === "milliseconds" && this.from,
      missing.length && `Not measured yet: ${missing.join(", ")}.`,
      "Area: file size. Line: Pareto front, the levels that no other one dominates. Press a level to see its answer above.",
    ];
    this.note.textContent = notes.filter(Boolean).join(" ");
    this.plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    if (!known.length) return this.plot.replaceChildren(text(width / 2, HEIGHT / 2, { class: "axis", "text-anchor": "middle" }, "No level has been measured yet."));
    const best = front(known, cost, quality);
    const [x, y, xs, ys] = this.scales(known, cost, quality, width);
    const at = (level) => [x(cost.value(level)), y(quality.value(level))];
    const points = best.map((level) => at(level).map((each) => each.toFixed(1)).join()).join(" ");
    const shown = known.map((level) => ({ level, at: at(level), front: best.includes(level) })).sort((a, b) => b.level.bytes - a.level.bytes);
    // Points are created anew: restore the keyboard focus.
    const held = this.plot.contains(document.activeElement) ? document.activeElement.dataset.level : undefined;
    this.plot.replaceChildren(
      ...this.axes(x, y, xs, ys, cost, quality, width),
      svg("polyline", { class: "front", points }),
      ...shown.map((each) => this.point(each, cost, quality)),
      ...this.names(shown, width),
    );
    if (held) this.plot.querySelector(`[data-level="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
  }

  // Leave a margin on all sides; costs begin at zero, so that distances are proportional.
  scales(levels, cost, quality, width) {
    const values = levels.map(quality.value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low || high * 0.02 || 0.01) * 0.25;
    const range = [Math.max(0, low - margin), high + margin];
    const most = Math.max(...levels.map(cost.value)) * 1.18;
    const up = quality.better > 0 ? [HEIGHT - EDGE.bottom, EDGE.top] : [EDGE.top, HEIGHT - EDGE.bottom];
    return [scale([0, most], [EDGE.left, width - EDGE.right]), scale(range, up), ticks(0, most, width < 480 ? 3 : 5), ticks(...range, 6)];
  }

  axes(x, y, xs, ys, cost, quality, width) {
    const [bottom, right] = [HEIGHT - EDGE.bottom, width - EDGE.right];
    const digits = Math.max(0, ...ys.map((value) => (String(Number((100 * value).toFixed(6))).split(".")[1] ?? "").length));
    const words = (value) => (this.quality === "nll" ? String(value) : `${(100 * value).toFixed(digits)}%`);
    return [
      ...ys.flatMap((value) => [svg("line", { class: "grid", x1: EDGE.left, x2: right, y1: y(value), y2: y(value) }), text(EDGE.left - 8, y(value) + 4, { class: "tick", "text-anchor": "end" }, words(value))]),
      ...xs.map((value) => text(x(value), bottom + 18, { class: "tick", "text-anchor": "middle" }, this.cost === "milliseconds" ? String(value) : steps(value, "").replace(/\.0+ /, " "))),
      svg("line", { class: "base", x1: EDGE.left, x2: right, y1: bottom, y2: bottom }),
      text(right, HEIGHT - 6, { class: "axis", "text-anchor": "end" }, cost.unit),
      text(0, 12, { class: "axis" }, quality.unit),
    ];
  }

  point({ level, at: [cx, cy], front }, cost, quality) {
    const largest = Math.max(...this.levels.map(({ bytes }) => bytes));
    const r = Math.max(5, LARGEST * Math.sqrt(level.bytes / largest));
    const label = `${level.name}: ${quality.name} ${quality.words(quality.value(level))}, ${cost.name} ${cost.words(cost.value(level))}, ${steps(level.bytes, "B")}${front ? ", on the Pareto front" : ""}`;
    const press = (event) => {
      if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.choose(level.name);
    };
    const pressed = level.name === this.chosen;
    return svg(
      "g",
      { class: `point${front ? " on-front" : ""}`, role: "button", tabindex: 0, "data-level": level.name, "aria-pressed": String(pressed), "aria-label": label, onclick: press, onkeydown: press },
      svg("title", {}, label),
      svg("circle", { class: "area", cx, cy, r }),
      svg("circle", { class: "centre", cx, cy, r: 3.5 }),
    );
  }

  // Place names beside their points, apart where they would overlap.
  names(shown, width) {
    const largest = Math.max(...this.levels.map(({ bytes }) => bytes));
    const names = shown
      .map(({ level, at: [cx, cy] }) => {
        const r = Math.max(5, LARGEST * Math.sqrt(level.bytes / largest));
        const left = cx + r + 60 > width;
        return { level, x: left ? cx - r - 6 : cx + r + 6, y: cy + 5, anchor: left ? "end" : "start" };
      })
      .sort((a, b) => a.y - b.y);
    names.forEach((name, number) => {
      const above = names.slice(0, number).filter((other) => Math.abs(other.x - name.x) < 60);
      name.y = Math.max(name.y, ...above.map((other) => other.y + LINE));
    });
    return names.map(({ level, x, y, anchor }) => text(x, y, { class: `name${level.name === this.chosen ? " chosen" : ""}`, "text-anchor": anchor, "aria-hidden": "true" }, level.name));
  }
}
