// The answer in words: the class, how sure it is of it, whether it abstains and why, and what else it could be.

import { html } from "./element.js";
import { Segmented } from "./segmented.js";
import { counted, milliseconds, named, nats, percent, points, scored } from "./words.js";

const STOPS = {
  settled: "then it stopped: more would change neither class nor decision",
  samples: "as many as it may take",
  deadline: "then time was up",
};

export class AnswerPanel {
  // `change` is called with { alpha }.
  constructor({ verdict, set, facts }, change) {
    Object.assign(this, { verdict, set, facts });
    this.alpha = new Segmented("alpha", "It holds the right class in at least", (alpha) => change({ alpha }));
    this.labels = html("ul", { class: "labels", "aria-label": "Prediction set" });
    this.meaning = html("p", { class: "fine" });
    set.append(this.labels, this.alpha.element, this.meaning);
  }

  // `level` is the manifest's entry of the level that answered, `before` the answer to the same picture before this one.
  show({ answer, alpha, example }, level, before) {
    const [prediction] = answer.predictions;
    this.verdict.replaceChildren(
      html("p", { class: "sureness" }, sureness(prediction)),
      html("p", { class: "class" }, html("strong", {}, prediction.label), html("span", {}, percent(prediction.probability))),
      html("p", { class: `decision ${prediction.decision}` }, html("b", {}, prediction.decision === "accept" ? "It accepts" : "It abstains"), html("span", {}, why(prediction, level.calibration.abstain_above))),
      html("p", {}, spread(prediction), " ", source(prediction)),
      ...[mistake(prediction, example), less(answer)].filter(Boolean).map((words) => html("p", { class: "aside" }, words)),
      before ? html("p", { class: "fine before" }, `Before: ${brief(before)}`) : "",
    );
    this.showSet(prediction, alpha, level.calibration);
    this.facts.textContent = facts(answer);
  }

  showSet(prediction, alpha, { conformal_quantiles: quantiles }) {
    this.labels.replaceChildren(...prediction.prediction_set.map((label) => html("li", {}, label)));
    this.alpha.show(Object.keys(quantiles).map((each) => [each, percent(1 - each, 0)]), alpha);
    const others = prediction.prediction_set.length - 1;
    this.meaning.textContent =
      `Of pictures like those that the level was calibrated on, the set holds the right class in at least ${percent(1 - alpha, 0)} ` +
      `(α = ${alpha}). Here it has ${others ? counted(others, "class", "classes") : "no class"} beside the first.`;
  }
}

function sureness({ probability, reason }) {
  if (reason === "out_of_distribution") return "Not its kind of picture";
  if (reason === "uncertain") return probability >= 0.5 ? "Not sure enough" : "It does not know";
  return probability >= 0.95 ? "Very sure" : probability >= 0.8 ? "Fairly sure" : "Sure enough";
}

function why({ reason, strangeness, uncertainty: { total } }, threshold) {
  if (reason === "out_of_distribution") return `Ask a person: this does not look like the pictures that it learned from (${strange(strangeness)}).`;
  const unsure = `its uncertainty, an entropy of ${nats(total)} nats, is`;
  if (reason === "uncertain") return `Ask a person: ${unsure} above the ${nats(threshold)} at which this level begins to abstain.`;
  return `It is sure enough: ${unsure} below the ${nats(threshold)} at which this level begins to abstain.${strangeness ? ` Nor is the picture strange to it (${strange(strangeness)}).` : ""}`;
}

const strange = ({ score, value, above }) => `${named(score)} ${scored(value)}, strange above ${scored(above)}`;

function spread({ monte_carlo: { draws }, probabilities: [first] }) {
  if (draws === 1) return "A single draw cannot show how far draws lie apart: ask for more.";
  const [low, high] = [percent(first.low, 0), percent(first.high, 0)];
  return `Nine draws in ten give ${first.label} ${low === high ? low : `between ${low} and ${high}`}.`;
}

function source({ reason, probabilities: [first, second], uncertainty: { total, epistemic } }) {
  if (reason === "out_of_distribution") return "Class and probability mean little then: whatever it is shown, it takes it for one of its classes.";
  if (reason !== "uncertain" || !second) return "";
  const share = percent(epistemic / total, 0);
  if (epistemic / total > 0.25) return `The draws disagree, as they do on pictures unlike those that it learned from: ${share} of the doubt is epistemic, it lies in the network.`;
  return `Each draw by itself wavers, above all between ${first.label} and ${second.label}: most of the doubt is aleatoric, it lies in the picture.`;
}

function mistake({ decision, label }, example) {
  if (decision === "abstain" || !example || label === example.label) return null;
  return "This is a mistake that it is sure of: the picture is foreign to it, and nothing that it measures tells. Watch what you send it.";
}

function less({ degraded }) {
  if (!degraded) return null;
  const instead = degraded.instead_of ? `, by another level instead of ${degraded.instead_of}` : "";
  return `The service is overloaded and did less: at most ${counted(degraded.samples, "draw")}${instead}.`;
}

function brief({ answer }) {
  const [{ label, probability, uncertainty, decision, monte_carlo }] = answer.predictions;
  const decided = decision === "accept" ? "accepted" : "abstained";
  return `${answer.level}, ${counted(monte_carlo.draws, "draw")}: ${label} ${percent(probability)}, ${nats(uncertainty.total)} nats, ${decided}, ${milliseconds(answer.timing_ms.inference)} ms.`;
}

function facts({ level, timing_ms: timing, predictions: [{ monte_carlo: { draws, stop, standard_error: error } }] }) {
  const known = error === null ? "" : ` The first class is known to ± ${points(error)} points (standard error).`;
  return `Level ${level}: ${counted(draws, "draw")}, ${STOPS[stop]}.${known} ${milliseconds(timing.inference)} ms to compute.`;
}
