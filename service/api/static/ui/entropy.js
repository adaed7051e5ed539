// Plot predictive entropy as a bar: the parts within and between the draws, and the threshold for abstention.

import { fitted, scale, ticks } from "./axis.js";
import { html, svg, text } from "./element.js";
import { nats } from "./words.js";

const BAR = { top: 30, height: 24 };
const HEIGHT = 96;

export class EntropyBar {
  constructor(root) {
    this.plot = svg("svg", { class: "plot", role: "img", height: HEIGHT });
    this.parts = html("dl", { class: "parts" });
    root.append(this.plot, this.parts);
    this.redraw = fitted(root, (width) => this.draw(width));
  }

  // `threshold` is the level's, `most` the largest possible entropy, ln K.
  show(uncertainty, threshold, most) {
    Object.assign(this, { uncertainty, threshold, most });
    this.redraw();
    const part = (name, place, value, words) => html("div", { class: name }, html("dt", {}, html("i", { class: "key" }), `${place} (${name})`, html("b", {}, `${nats(value)} nats`)), html("dd", {}, words));
    this.parts.replaceChildren(
      part("aleatoric", "Within the draws", uncertainty.aleatoric, "Uncertainty that each draw has by itself, on average."),
      part("epistemic", "Between the draws", uncertainty.epistemic, "Disagreement of the draws. With few random layers it is a lower bound: the other layers are the same in all draws."),
    );
  }

  draw(width) {
    if (!this.uncertainty) return;
    const { total, aleatoric, epistemic } = this.uncertainty;
    const x = scale([0, this.most], [1, width - 1]);
    const bar = (name, from, to) => svg("rect", { class: name, x: x(from), y: BAR.top, width: Math.max(0, x(to) - x(from)), height: BAR.height });
    const at = x(this.threshold);
    const bottom = BAR.top + BAR.height;
    const inside = x(total) > width - 90;
    this.plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.plot.setAttribute("aria-label", `Entropy ${nats(total)} nats: within the draws ${nats(aleatoric)}, between them ${nats(epistemic)}; it abstains above ${nats(this.threshold)}`);
    this.plot.replaceChildren(
      bar("track", 0, this.most),
      bar("aleatoric", 0, aleatoric),
      bar("epistemic", aleatoric, aleatoric + epistemic),
      text(inside ? x(total) - 8 : Math.max(x(total) + 8, total < this.threshold ? at + 8 : 0), BAR.top + 17, { class: inside ? "total inside" : "total", "text-anchor": inside ? "end" : "start" }, `${nats(total)} nats`),
      svg("line", { class: "threshold", x1: at, x2: at, y1: BAR.top - 8, y2: bottom + 4 }),
      text(at, 16, { class: "flag", "text-anchor": at < width / 2 ? "start" : "end" }, `abstains above ${nats(this.threshold)}`),
      ...this.axis(x, bottom, width),
    );
  }

  axis(x, bottom, width) {
    const marks = ticks(0, this.most, 5).map((value) => text(x(value), bottom + 20, { class: "tick", "text-anchor": value === 0 ? "start" : "middle" }, String(value)));
    return [...marks, text(0, HEIGHT - 3, { class: "axis" }, "0: certain"), text(width, HEIGHT - 3, { class: "axis", "text-anchor": "end" }, `${nats(this.most)} nats: all classes equally probable`)];
  }
}
