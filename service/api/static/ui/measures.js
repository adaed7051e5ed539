// Measures to compare levels by: value, format, unit, and direction of improvement.

import { milliseconds, percent, steps } from "./words.js";

const cost = (name, unit, value, words) => ({ name, unit, value, words, better: -1 });

export const COSTS = {
  milliseconds: cost("time", "milliseconds", (level) => level.milliseconds, (value) => `${milliseconds(value)} ms`),
  multiply_adds: cost("multiply-adds", "multiply-adds of a draw", (level) => level.multiply_adds, (value) => steps(value, "")),
  bytes: cost("size", "bytes", (level) => level.bytes, (value) => steps(value, "B")),
};

export const QUALITIES = {
  accuracy: { name: "accuracy", unit: "accuracy on the test set", value: (level) => level.metrics.accuracy, words: (value) => percent(value), better: 1 },
  nll: { name: "NLL", unit: "NLL, nats; up is better", value: (level) => level.metrics.nll, words: (value) => value.toFixed(3), better: -1 },
  ece: { name: "ECE", unit: "ECE; up is better", value: (level) => level.metrics.ece, words: (value) => percent(value, 2), better: -1 },
};

// Return the Pareto front: levels that no other one dominates, cheapest first.
export function front(levels, cost, quality) {
  const gain = (level) => [-cost.value(level), quality.better * quality.value(level)];
  const beats = (one, other) => {
    const [a, b] = [gain(one), gain(other)];
    return a[0] >= b[0] && a[1] >= b[1] && (a[0] > b[0] || a[1] > b[1]);
  };
  return levels.filter((level) => !levels.some((other) => beats(other, level))).sort((a, b) => cost.value(a) - cost.value(b));
}
