// Plot the most probable classes as distributions over draws: a dot a draw, mean, and any interval from 5 to 95 %.

import { fitted, scale } from "./axis.js";
import { html, svg, text } from "./element.js";
import { brief, LEAST, percent } from "./words.js";

const ROW = 46;
const TOP = 6;
const AXIS = 34;

export class DrawsPlot {
  constructor(root) {
    this.dots = svg("g", { class: "dots" });
    this.rows = svg("g");
    this.plot = svg("svg", { class: "plot", role: "img" }, this.rows, this.dots);
    this.table = html("table");
    const key = (name, words) => html("li", {}, html("i", { class: `key ${name}` }), words);
    this.interval = key("interval", "nine draws in ten (5 to 95%)");
    this.key = html("ul", { class: "keys" }, key("dot", "one draw"), key("mean", "mean"), this.interval, key("out", "not in the prediction set"));
    root.append(this.plot, this.key, html("div", { class: "hidden" }, this.table));
    this.redraw = fitted(root, (width) => this.draw(width));
  }

  show(prediction) {
    this.prediction = prediction;
    this.interval.hidden = prediction.probabilities[0].low === null;
    this.redraw();
    this.tabulate();
  }

  draw(width) {
    if (!this.prediction) return;
    const classes = this.prediction.probabilities;
    const held = new Set(this.prediction.prediction_set ?? []);
    const [left, right] = width < 480 ? [84, 72] : [120, 132];
    const x = scale([0, 1], [left, width - right]);
    const height = TOP + classes.length * ROW + AXIS;
    this.plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.plot.setAttribute("height", height);
    this.plot.setAttribute("aria-label", `${classes[0].draws.length} draws: ${classes.map((one) => `${one.label} ${percent(one.probability)}`).join(", ")}`);
    const rows = classes.map((one, row) => this.row(one, TOP + (row + 0.5) * ROW, x, held.has(one.label), width));
    this.rows.replaceChildren(...this.axis(x, height, classes.length, width), ...rows);
    this.place(classes, x, held);
  }

  axis(x, height, rows, width) {
    const bottom = TOP + rows * ROW;
    const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => [
      svg("line", { class: "grid", x1: x(share), x2: x(share), y1: TOP, y2: bottom }),
      text(x(share), bottom + 16, { class: "tick", "text-anchor": "middle" }, percent(share, 0)),
    ]);
    const value = text(width, bottom + 16, { class: "tick", "text-anchor": "end" }, width < 480 ? "mean" : "mean ± std");
    return [...marks.flat(), value, text((x(0) + x(1)) / 2, height - 3, { class: "axis", "text-anchor": "middle" }, "probability under each draw")];
  }

  row(one, y, x, held, width) {
    const [low, high] = [x(one.low), x(one.high)];
    const interval = one.low !== null && svg("rect", { class: "interval", x: low - 2, y: y - 13, width: high - low + 4, height: 26, rx: 5 });
    const wide = width >= 480;
    return svg(
      "g",
      { class: held ? "row in" : "row" },
      text(0, y + 5, { class: "name" }, short(one.label, wide ? 15 : 11)),
      interval,
      svg("line", { class: "mean", x1: x(one.probability), x2: x(one.probability), y1: y - 15, y2: y + 15 }),
      text(width, y + 5, { class: "value", "text-anchor": "end" }, brief(one.probability), wide && svg("tspan", { class: "spread" }, ` ± ${brief(one.std)}`)),
    );
  }

  // Dots keep their elements, so that they move when level or draws change.
  place(classes, x, held) {
    const radius = classes[0].draws.length > 64 ? 2.5 : classes[0].draws.length > 16 ? 3.2 : 4.5;
    const wanted = classes.flatMap((one, row) =>
      swarm(one.draws.map(x), radius).map(([cx, dy]) => ({ cx, cy: TOP + (row + 0.5) * ROW + dy, held: held.has(one.label) })),
    );
    while (this.dots.childElementCount > wanted.length) this.dots.lastChild.remove();
    while (this.dots.childElementCount < wanted.length) this.dots.append(svg("circle"));
    wanted.forEach(({ cx, cy, held }, number) => {
      const dot = this.dots.children[number];
      dot.setAttribute("r", radius);
      dot.setAttribute("class", held ? "in" : "out");
      dot.style.transform = `translate(${cx.toFixed(1)}px, ${cy.toFixed(1)}px)`;
    });
  }

  tabulate() {
    const end = (share) => (share === null ? `none from fewer than ${LEAST} draws` : percent(share));
    const cells = ({ label, probability, std, low, high }) => [label, percent(probability), percent(std), end(low), end(high)];
    const head = ["class", "mean", "standard deviation", "5% quantile", "95% quantile"];
    this.table.replaceChildren(
      html("caption", {}, "Probability over draws"),
      html("tr", {}, head.map((words) => html("th", { scope: "col" }, words))),
      ...this.prediction.probabilities.map((one) => html("tr", {}, cells(one).map((words) => html("td", {}, words)))),
    );
  }
}

const short = (label, most) => (label.length > most ? `${label.slice(0, most - 1)}…` : label);

// Place dots at `xs` without overlap, as far as the row has room: [x, distance from the row's middle].
function swarm(xs, radius) {
  const placed = [];
  const room = Math.floor((ROW / 2 - radius - 2) / radius);
  const offsets = Array.from({ length: 2 * room + 1 }, (_, n) => Math.ceil(n / 2) * radius * (n % 2 ? 1 : -1));
  for (const x of xs) {
    const near = placed.filter(([other]) => Math.abs(other - x) < 2 * radius);
    const free = offsets.find((dy) => near.every(([other, at]) => Math.hypot(other - x, at - dy) >= 1.9 * radius));
    placed.push([x, free ?? offsets[placed.length % offsets.length]]);
  }
  return placed;
}
