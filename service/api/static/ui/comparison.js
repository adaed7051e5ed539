// Compare the answers of all levels to the same picture.

import { html } from "./element.js";
import { milliseconds, named, nats, percent, scored } from "./words.js";

export class Comparison {
  constructor(root) {
    this.body = html("tbody");
    const head = ["Level", "Class", "Decision", "Draws", "Entropy, nats", "Abstains above", "OOD score", "OOD threshold", "Time"];
    this.table = html("table", {}, html("thead", {}, html("tr", {}, head.map((words, n) => html("th", { scope: "col", class: n > 2 ? "number" : "" }, words)))), this.body);
    this.box = html("div", { hidden: true }, html("h3", {}, "Your picture at each level"), html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Your picture at each level" }, this.table));
    root.append(this.box);
  }

  // `answers` by name of the level; `levels` are those of the manifest.
  show(answers, levels) {
    const answered = levels.filter(({ name }) => answers.has(name));
    this.box.hidden = answered.length < 2;
    this.body.replaceChildren(...answered.map((level) => row(level, answers.get(level.name))));
  }
}

const DECISIONS = { accept: "accepts", uncertain: "abstains: uncertain", out_of_distribution: "abstains: OOD" };

function row({ name, calibration }, { predictions: [prediction], timing_ms: timing }) {
  const decided = DECISIONS[prediction.reason ?? "accept"];
  const { ood } = prediction;
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, name),
    html("td", {}, `${prediction.label} ${percent(prediction.probability)}`),
    html("td", {}, html("span", { class: `mark ${prediction.decision}` }, decided)),
    html("td", { class: "number" }, prediction.monte_carlo.draws),
    html("td", { class: "number" }, nats(prediction.uncertainty.total)),
    html("td", { class: "number" }, nats(calibration.abstain_above)),
    html("td", { class: "number" }, ood ? `${named(ood.score)} ${scored(ood.value)}` : "not measured"),
    html("td", { class: "number" }, ood ? scored(ood.threshold) : ""),
    html("td", { class: "number" }, `${milliseconds(timing.inference)} ms`),
  );
}
