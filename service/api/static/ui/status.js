// Live status: load of the service, drift of its answers from those on the test set, and quality by labels.

import { html } from "./element.js";
import { percent } from "./words.js";

const EVERY = 2000;
const STEPS = 4;
// The service has no GET /status, or none for this client.
const GONE = [401, 403, 404];
const SCORES = ["confidence", "entropy", "mutual_information"];

export class StatusPanel {
  // `ask` requests GET /status; the panel stays hidden where that is not available.
  constructor(section, root, ask) {
    Object.assign(this, { section, ask });
    this.queue = html("meter", { min: 0, id: "queue" });
    this.figures = html("dl", { class: "figures" });
    this.body = html("tbody");
    const head = ["Model and level", "Answers", "Abstained", "Confidence", "Entropy", "Mutual information"];
    const table = html("table", {}, html("thead", {}, html("tr", {}, head.map((words, n) => html("th", { scope: "col", class: n ? "number" : "" }, words)))), this.body);
    root.append(
      this.figures,
      html("div", { class: "row" }, html("label", { for: "queue" }, "Queue"), this.queue),
      html("h3", {}, "Drift"),
      html("p", { class: "lead" }, "Population stability index of the latest answers against those on the test set: under 0.1 steady, up to 0.25 some drift, above it strong drift: check the pictures that are sent."),
      html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Drift" }, table),
    );
    this.labelled = html("tbody");
    const figures = ["Model and level", "Labels", "Accuracy", "Accuracy of accepted", "Calibration error", "Sets with the label"];
    const quality = html("table", {}, html("thead", {}, html("tr", {}, figures.map((words, n) => html("th", { scope: "col", class: n ? "number" : "" }, words)))), this.labelled);
    this.quality = html(
      "div",
      { hidden: true },
      html("h3", {}, "Quality by labels"),
      html("p", { class: "lead" }, "Of the latest 1,000 images whose labels were sent to /feedback, with 95 % intervals."),
      html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Quality by labels" }, quality),
    );
    root.append(this.quality);
  }

  async start() {
    for (;;) {
      if (!document.hidden) {
        const status = await this.ask().catch((problem) => problem);
        if (GONE.includes(status.status)) return;
        if (status.load) this.show(status);
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  }

  show({ load, levels }) {
    for (const part of [this.section, ...document.querySelectorAll("[data-with=live]")]) part.hidden = false;
    this.queue.max = load.capacity;
    this.queue.value = load.queued;
    const figure = (name, value) => html("div", {}, html("dt", {}, name), html("dd", {}, value));
    this.figures.replaceChildren(
      figure("answers a second", load.answered_per_second.toFixed(1)),
      figure("queued images × draws", `${load.queued.toLocaleString("en")} of ${load.capacity.toLocaleString("en")}`),
      figure("degradation", load.step ? `step ${load.step} of ${STEPS}` : "none"),
    );
    this.body.replaceChildren(...levels.map((level) => row(level)));
    const labelled = levels.filter((level) => level.live);
    this.quality.hidden = labelled.length === 0;
    this.labelled.replaceChildren(...labelled.map((level) => qualityRow(level)));
  }
}

function row({ model, level, answered, abstained, drift }) {
  const share = answered ? percent(abstained / answered, 0) : "none yet";
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, `${model} ${level}`),
    html("td", { class: "number" }, answered.toLocaleString("en")),
    html("td", { class: "number" }, share),
    SCORES.map((score) => html("td", { class: "number" }, drifted(drift[score]))),
  );
}

function qualityRow({ model, level, live }) {
  const sets = Object.entries(live.coverage).map(([alpha, each]) => [
    html("span", { class: `mark ${each.below ? "strong" : "steady"}` }, each.below ? "too few" : "as promised"),
    ` ${figure(each)} of ${percent(1 - alpha, 0)} `,
  ]);
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, `${model} ${level}`),
    html("td", { class: "number" }, live.labels.toLocaleString("en")),
    [live.accuracy, live.accepted_accuracy, live.ece].map((each) => html("td", { class: "number" }, figure(each))),
    html("td", { class: "number" }, sets.length ? sets.flat() : "too few labels"),
  );
}

function figure(estimate) {
  if (estimate === null) return "too few labels";
  return `${percent(estimate.value, 1)} (${percent(estimate.low, 1)} to ${percent(estimate.high, 1)})`;
}

function drifted(index) {
  if (index === null) return "too few answers";
  const words = index < 0.1 ? "steady" : index <= 0.25 ? "some" : "strong";
  return [html("span", { class: `mark ${words}` }, words), ` ${index.toFixed(2)}`];
}
