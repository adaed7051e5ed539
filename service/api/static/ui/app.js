// The page: its state, and the panels that show it.

import { Advice } from "./advice.js";
import { AnswerPanel } from "./answer.js";
import { Api, Problem } from "./api.js";
import { Comparison } from "./comparison.js";
import { DrawsPlot } from "./draws.js";
import { html } from "./element.js";
import { EntropyBar } from "./entropy.js";
import { KeyDialog } from "./key.js";
import { LevelsPlot } from "./levels.js";
import { PicturePanel } from "./picture.js";
import { SettingsPanel } from "./settings.js";
import { StatusPanel } from "./status.js";
import { ModelsTable } from "./table.js";
import { sentence } from "./words.js";

const SHOWN = 5;
// Load of the measurement of levels: the same for each, and too small to disturb other clients.
const TIMED = { draws: "8", rounds: 9 };
// Errors of the request itself: a retry would fail again.
const LASTING = [400, 413, 415, 422];
const at = (id) => document.getElementById(id);

class Page {
  constructor() {
    const dialog = new KeyDialog(at("key"));
    this.api = new Api((reason) => dialog.ask(`The service answered: ${reason}.`));
    this.chosen = { model: null, version: null, level: null, samples: "auto", alpha: "0.1" };
    // Answers to the current picture: the latest, and the latest of each level.
    this.latest = null;
    this.answers = new Map();
    // Milliseconds of each level as measured by this page; null before that.
    this.times = null;
    this.picture = new PicturePanel(at("picture"), (picture) => this.pick(picture), (example) => this.pickExample(example));
    this.settings = new SettingsPanel(at("settings"), (change) => this.choose(change));
    const parts = { verdict: at("verdict"), set: at("set"), facts: at("facts") };
    this.answer = new AnswerPanel(parts, (change) => this.choose(change));
    this.draws = new DrawsPlot(at("draws"));
    this.entropy = new EntropyBar(at("entropy"));
    this.levels = new LevelsPlot(at("plot"), (level) => this.choose({ level }));
    this.advice = new Advice(at("advice"), () => this.measure());
    this.comparison = new Comparison(at("comparison"));
    this.table = new ModelsTable(at("table"));
    this.status = new StatusPanel(at("live"), at("status"), () => this.api.status());
    at("key-button").addEventListener("click", () => this.changeKey(dialog));
  }

  async start() {
    await this.trying(() => this.load(), () => this.start());
    if (!this.detail) return;
    this.status.start();
    const first = this.suitable().find(({ label }) => label !== null);
    if (first) await this.pickExample(first);
  }

  // Load the models and the chosen version, or the default one.
  async load() {
    const [examples, { models }] = await Promise.all([this.examples ?? this.api.examples(), this.api.models()]);
    Object.assign(this, { examples, models });
    if (!this.usable.length) throw new Problem(0, "there is no model that can answer yet");
    this.chosen.model ??= this.usable[0].name;
    this.detail = await this.api.version(this.chosen.model, this.chosen.version);
    this.chosen.level ??= this.manifest.default_level;
    at("key-button").hidden = !this.api.hasKey();
    at("settings").hidden = false;
    this.settings.show(this.usable, this.chosen, this.detail);
    this.picture.showExamples(this.suitable());
    this.showModels();
    this.about();
  }

  get usable() {
    return this.models.filter(({ versions }) => versions.some(({ ready }) => ready));
  }

  get manifest() {
    return this.detail.manifest;
  }

  suitable() {
    return this.examples.filter(({ dataset }) => dataset === null || dataset === this.manifest.training.dataset);
  }

  async pick(picture) {
    Object.assign(this, { current: picture, latest: null });
    this.answers.clear();
    this.picture.show(picture, this.manifest.input);
    await this.ask();
  }

  async pickExample(example) {
    const fetched = async () => this.pick({ file: await this.api.example(example.file), name: example.name, example });
    await this.trying(fetched, () => this.pickExample(example));
  }

  // Apply a change of the settings, and predict the same picture again.
  async choose(change) {
    const before = this.detail;
    Object.assign(this.chosen, change);
    if ("model" in change || "version" in change) {
      Object.assign(this, { latest: null, times: null });
      this.answers.clear();
      await this.trying(() => this.load(), () => this.choose(change));
      if (this.detail === before) return;
      if (this.current) this.picture.show(this.current, this.manifest.input);
    }
    this.settings.show(this.usable, this.chosen, this.detail);
    this.levels.show({ chosen: this.chosen.level });
    if (this.current) await this.ask();
  }

  // The chosen error rate if the level has it, else its largest one; null if it has no prediction sets.
  alpha(level) {
    const { conformal_quantiles: quantiles } = this.manifest.levels.find(({ name }) => name === level).calibration;
    return this.chosen.alpha in quantiles ? this.chosen.alpha : (Object.keys(quantiles)[0] ?? null);
  }

  query(level = this.chosen.level, samples = this.chosen.samples) {
    const { model, version } = this.manifest;
    return { model, version, level, samples, alpha: this.alpha(level), top_k: SHOWN, draws: true };
  }

  // Predict the current picture; a new request cancels the one before.
  async ask() {
    this.open?.abort();
    const open = (this.open = new AbortController());
    at("progress").hidden = false;
    at("empty").textContent = "Classifying the picture…";
    await this.trying(
      async () => {
        const asked = { alpha: this.alpha(this.chosen.level), example: this.current.example };
        const answer = await this.api.predict(this.current.file, this.query(), open.signal);
        this.show({ ...asked, answer });
        await this.refresh();
      },
      () => this.ask(),
    );
    if (this.open === open) at("progress").hidden = true;
  }

  show(latest) {
    const { answer } = latest;
    const level = this.manifest.levels.find(({ name }) => name === answer.level);
    const [prediction] = answer.predictions;
    this.answer.show(latest, { ...this.listed.find(({ name }) => name === answer.level), ...level }, this.latest);
    this.latest = latest;
    at("empty").hidden = true;
    at("answered").hidden = false;
    this.draws.show(prediction);
    this.entropy.show(prediction.uncertainty, level.calibration.abstain_above, Math.log(this.manifest.classes.length));
    this.remember(answer);
  }

  remember(answer) {
    this.answers.set(answer.level, answer);
    this.comparison.show(this.answers, this.manifest.levels);
  }

  async refresh() {
    this.models = (await this.api.models()).models;
    this.showModels();
  }

  // The levels of the version as they are listed.
  get listed() {
    const { model, version } = this.manifest;
    return this.models.find(({ name }) => name === model).versions.find((each) => each.version === version).levels;
  }

  showModels() {
    const timed = this.listed.map((level) => ({ ...level, milliseconds: this.times ? (this.times.get(level.name) ?? null) : level.latency_ms.p50 }));
    const from = this.times
      ? `Time: median of ${TIMED.rounds} runs of ${TIMED.draws} draws on your picture.`
      : "Time: median over all requests that this process has answered; measure to compare the levels on the same work.";
    this.levels.show({ levels: timed, from, chosen: this.chosen.level });
    this.advice.show(timed, this.times !== null);
    this.table.show(this.models);
  }

  // Time all levels, one request after the other, so as not to delay other clients.
  async measure() {
    if (!this.current) return this.advice.showProgress(null, "choose a picture first.");
    const times = (this.times = new Map());
    const { current, manifest } = this;
    const all = new Map(manifest.levels.map(({ name }) => [name, []]));
    try {
      for (const name of all.keys()) {
        this.advice.showProgress(`Asking ${name}…`);
        const answer = await this.api.predict(current.file, this.query(name));
        if (current === this.current && times === this.times) this.remember(answer);
      }
      // Interleaved, so that other load affects all levels alike; ends when another version is chosen.
      for (let round = 1; round <= TIMED.rounds && times === this.times; round += 1) {
        this.advice.showProgress(`Measuring: ${round} of ${TIMED.rounds}…`);
        for (const [name, milliseconds] of turned([...all], round)) {
          const { timing_ms: timing } = await this.api.predict(current.file, this.query(name, TIMED.draws));
          milliseconds.push(timing.inference);
          times.set(name, median(milliseconds));
        }
        if (round === 1) this.levels.show({ cost: "milliseconds" });
        this.showModels();
      }
      await this.refresh();
      this.advice.showProgress(null);
    } catch (problem) {
      this.advice.showProgress(null, sentence(problem.message));
    }
  }

  async changeKey(dialog) {
    const key = await dialog.ask("Replace the current key.");
    if (key === null) return;
    this.api.setKey(key);
    await this.trying(() => this.load(), () => this.changeKey(dialog));
  }

  // Run an action; show its error with a way to retry, and keep all that was chosen or shown.
  async trying(action, again) {
    at("notice").hidden = true;
    at("empty").hidden = !at("answered").hidden;
    at("answer").classList.remove("stale");
    try {
      await action();
    } catch (problem) {
      if (problem.name === "AbortError") return;
      const button = html("button", { type: "button", onclick: again }, "Try again");
      at("notice").replaceChildren(html("p", {}, this.failure(problem)), LASTING.includes(problem.status) ? "" : button);
      at("notice").hidden = false;
      at("empty").hidden = true;
      at("answer").classList.add("stale");
    }
  }

  // Describe an error in the service's words, and what the page still shows.
  failure({ message }) {
    const words = sentence(`No answer: ${message.replace(/^image 0\b/, "this")}`);
    if (at("answered").hidden) return words;
    return `${words} The answer below is ${this.latest ? "the previous one" : "to the previous picture"}.`;
  }

  about() {
    const { model, version, classes, training } = this.manifest;
    const some = classes.length > 12 ? `${classes.slice(0, 12).join(", ")} and ${classes.length - 12} more` : classes.join(", ");
    at("about").textContent = `${model} ${version}: ${training.architecture}, trained on ${training.dataset} under ${training.estimator}. Its classes: ${some}. It assigns every picture to one of them, or abstains.`;
  }
}

// Rotate the order each round: the first level finds colder caches.
const turned = (list, by) => list.map((_, number) => list[(number + by) % list.length]);

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

new Page().start();
