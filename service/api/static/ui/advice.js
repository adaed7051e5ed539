// Recommend a level to deploy for a tolerated loss of accuracy.

import { html } from "./element.js";
import { COSTS } from "./measures.js";
import { percent, points, steps, times } from "./words.js";

const LOSSES = [0, 0.005, 0.01, 0.02, 0.03, 0.05];
// Costs within this ratio count as equal: times were measured while other work ran.
const ALIKE = 1.15;

export class Advice {
  // `measure` is called to time the levels.
  constructor(root, measure) {
    this.loss = 0.01;
    const options = LOSSES.map((loss) => html("option", { value: loss, selected: loss === this.loss }, loss ? `${points(loss).replace(".0", "")} ${loss === 0.01 ? "point" : "points"} of accuracy` : "no accuracy"));
    const change = (event) => {
      this.loss = Number(event.target.value);
      this.show(this.levels, this.alike);
    };
    const select = html("select", { id: "loss", onchange: change }, options);
    this.words = html("div", { "aria-live": "polite" });
    this.button = html("button", { type: "button", class: "primary", onclick: measure }, "Measure all levels");
    this.doing = html("p", { class: "fine", role: "status" });
    root.append(html("p", { class: "given" }, html("label", { for: "loss" }, "I can give up "), select), this.words, this.button, this.doing);
  }

  // `alike`: whether the levels' milliseconds were measured for the same work.
  show(levels, alike) {
    Object.assign(this, { levels, alike });
    const timed = levels.every(({ milliseconds }) => milliseconds !== null) && alike;
    const { chosen, sentences } = advise(levels, this.loss, timed ? COSTS.milliseconds : COSTS.multiply_adds);
    const untimed = "Based on multiply-adds only: measure the levels to compare their speed on this machine.";
    this.words.replaceChildren(
      html("p", { class: "deploy" }, "Deploy ", html("strong", {}, chosen.name)),
      ...[...sentences, timed ? null : untimed].filter(Boolean).map((words) => html("p", {}, words)),
    );
    this.button.textContent = timed ? "Measure again" : "Measure all levels";
    this.button.classList.toggle("primary", !timed);
  }

  // Show progress, or none for null; `failed` is the reason why measuring ended.
  showProgress(words, failed = "") {
    this.button.disabled = words !== null;
    this.doing.textContent = words ?? (failed && `Measuring ended: ${failed}`);
  }
}

// Choose the cheapest of the levels that are accurate enough, and among equal costs the smallest file.
export function advise(levels, loss, cost) {
  const best = levels.reduce((one, other) => (other.metrics.accuracy > one.metrics.accuracy ? other : one));
  const enough = levels.filter((level) => level.metrics.accuracy >= best.metrics.accuracy - loss - 1e-9);
  const least = Math.min(...enough.map(cost.value));
  const chosen = enough.filter((level) => cost.value(level) <= ALIKE * least).reduce((one, other) => (other.bytes < one.bytes ? other : one));
  const cheapest = levels.reduce((one, other) => (cost.value(other) < cost.value(one) ? other : one));
  const smallest = levels.reduce((one, other) => (other.bytes < one.bytes ? other : one));
  const sentences = [chosen === best ? `It is the most accurate: ${percent(best.metrics.accuracy)} of the test pictures right, ${cost.words(cost.value(best))}, ${steps(best.bytes, "B")}.` : against(chosen, best, cost)];
  if (cost.value(chosen) > ALIKE * cost.value(cheapest)) sentences.push(`If time counts most: ${cheapest.name} is ${faster(cheapest, chosen, cost)} than ${chosen.name}, ${right(cheapest, chosen)}.`);
  if (smallest !== chosen && smallest !== cheapest) sentences.push(`If size counts most: ${smallest.name} takes ${steps(smallest.bytes, "B")} instead of ${steps(chosen.bytes, "B")}, ${right(smallest, chosen)}.`);
  return { chosen, sentences };
}

const faster = (one, other, cost) => `${times(cost.value(other) / cost.value(one))} ${cost === COSTS.milliseconds ? "faster" : "less work"}`;

const right = (one, other) => {
  const accuracy = percent(one.metrics.accuracy);
  return one.metrics.accuracy < other.metrics.accuracy ? `but gets ${accuracy} right` : `and gets ${accuracy} right`;
};

function against(chosen, best, cost) {
  const ratio = cost.value(best) / cost.value(chosen);
  const pace = ratio > ALIKE ? `${faster(chosen, best, cost)} than` : ratio < 1 / ALIKE ? "slower than" : cost === COSTS.milliseconds ? "as fast as" : "as much work as";
  const size = chosen.bytes < best.bytes ? `and ${Math.round(100 * (1 - chosen.bytes / best.bytes))}% smaller` : "and no smaller";
  return `It is ${pace} ${best.name}, the most accurate level, ${size}: it gets ${percent(chosen.metrics.accuracy)} of the test pictures right, ${best.name} ${percent(best.metrics.accuracy)}.`;
}
