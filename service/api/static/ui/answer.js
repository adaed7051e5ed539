// Show the prediction in words: class, confidence, decision with its reason, and prediction set.

import { html } from "./element.js";
import { Segmented } from "./segmented.js";
import { counted, LEAST, milliseconds, named, nats, percent, points, scored } from "./words.js";

const STOPS = {
  converged: "stopped early: more would change neither class nor decision",
  samples: "the most that it may take",
  deadline: "stopped by the deadline",
};

export class AnswerPanel {
  // `change` is called with { alpha }.
  constructor({ verdict, set, facts }, change) {
    Object.assign(this, { verdict, set, facts });
    this.alpha = new Segmented("alpha", "Coverage of about", (alpha) => change({ alpha }));
    this.labels = html("ul", { class: "labels", "aria-label": "Prediction set" });
    this.meaning = html("p", { class: "fine" });
    set.append(this.labels, this.alpha.element, this.meaning);
  }

  // `level` is the entry of the level that answered, in the manifest and the listing, `before` the previous answer to the same picture.
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
    this.showSet(prediction, alpha, level);
    this.facts.textContent = facts(answer);
  }

  showSet(prediction, alpha, { calibration: { conformal_quantiles: quantiles, images }, coverage, missing_sets: missing }) {
    const lacking = Object.entries(missing).map(([each, needed]) => `${percent(1 - each, 0)} takes ${needed}`).join(", ");
    const few = lacking && images ? ` Of calibration pictures it has ${images}: a coverage of ${lacking}.` : "";
    this.alpha.show(Object.keys(quantiles).map((each) => [each, percent(1 - each, 0)]), alpha);
    this.alpha.element.hidden = alpha === null;
    this.labels.replaceChildren(...(prediction.prediction_set ?? []).map((label) => html("li", {}, label)));
    if (prediction.prediction_set === null) {
      this.meaning.textContent = `This level has no prediction sets.${few}`;
      return;
    }
    const held = coverage.lac?.[alpha];
    const others = prediction.prediction_set.length - 1;
    this.meaning.textContent =
      `On pictures like the calibration data, the set contains the right class about ${percent(1 - alpha, 0)} of the time ` +
      `(α = ${alpha}${held === undefined ? "" : `; in the test set ${percent(held)}`}). Here it has ${others ? counted(others, "class", "classes") : "no class"} beside the first.${few}`;
  }
}

function sureness({ probability, reason }) {
  if (reason === "out_of_distribution") return "Out of distribution";
  if (reason === "uncertain") return probability >= 0.5 ? "Not sure enough" : "Unsure";
  return probability >= 0.95 ? "Very sure" : probability >= 0.8 ? "Fairly sure" : "Sure enough";
}

function why({ reason, ood, uncertainty: { total } }, threshold) {
  if (reason === "out_of_distribution") return `Ask a person: the picture is unlike the training data (${compared(ood)}).`;
  const unsure = `its uncertainty, an entropy of ${nats(total)} nats, is`;
  if (reason === "uncertain") return `Ask a person: ${unsure} above the ${nats(threshold)} at which this level begins to abstain.`;
  return `It is sure enough: ${unsure} below the ${nats(threshold)} at which this level begins to abstain.${ood ? ` The picture is like the training data (${compared(ood)}).` : ""}`;
}

const compared = ({ score, value, threshold }) => `OOD score: ${named(score)} ${scored(value)}, threshold ${scored(threshold)}`;

function spread({ monte_carlo: { draws }, probabilities: [first] }) {
  if (draws === 1) return "A single draw shows no spread: request more.";
  if (first.low === null) return `${draws} draws are too few for an interval, which takes ${LEAST}: request more to see one.`;
  const [low, high] = [percent(first.low, 0), percent(first.high, 0)];
  return `Nine draws in ten give ${first.label} ${low === high ? low : `between ${low} and ${high}`}.`;
}

function source({ reason, probabilities: [first, second], uncertainty: { total, epistemic } }) {
  if (reason === "out_of_distribution") return "Class and probability mean little then: the network assigns every picture to one of its classes.";
  if (reason !== "uncertain" || !second) return "";
  const share = percent(epistemic / total, 0);
  if (epistemic / total > 0.25) return `The draws disagree: ${share} of the uncertainty is between them (epistemic).`;
  return `Each draw by itself is uncertain, mainly between ${first.label} and ${second.label}: most of the uncertainty is within the draws (aleatoric).`;
}

function mistake({ decision, label }, example) {
  if (decision === "abstain" || !example || label === example.label) return null;
  return "This is a confident mistake: the picture is out of distribution, and no score detects it. Monitor the pictures that you send.";
}

function less({ degraded }) {
  if (!degraded) return null;
  const instead = degraded.instead_of ? `, by another level instead of ${degraded.instead_of}` : "";
  return `The service is overloaded and degraded this answer: at most ${counted(degraded.samples, "draw")}${instead}.`;
}

function brief({ answer }) {
  const [{ label, probability, uncertainty, decision, monte_carlo }] = answer.predictions;
  const decided = decision === "accept" ? "accepted" : "abstained";
  return `${answer.level}, ${counted(monte_carlo.draws, "draw")}: ${label} ${percent(probability)}, ${nats(uncertainty.total)} nats, ${decided}, ${milliseconds(answer.timing_ms.inference)} ms.`;
}

function facts({ level, timing_ms: timing, predictions: [{ monte_carlo: { draws, stop, standard_error: error } }] }) {
  const known = error === null ? "" : ` Monte-Carlo standard error of the first class: ${points(error)} points.`;
  return `Level ${level}: ${counted(draws, "draw")}, ${STOPS[stop]}.${known} ${milliseconds(timing.inference)} ms to compute.`;
}
