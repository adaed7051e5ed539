// Settings of a request: model, version, level and number of draws.

import { html } from "./element.js";
import { Segmented } from "./segmented.js";
import { percent } from "./words.js";

const DRAWS = [["auto", "auto"], ["1", "1"], ["4", "4"], ["16", "16"], ["64", "64"]];
const PAUSE = 400;

export class SettingsPanel {
  // `change` is called with what changed: { model }, { version }, { level } or { samples }.
  constructor(root, change) {
    this.change = change;
    this.model = this.select("Model", (model) => change({ model, version: null, level: null }));
    this.version = this.select("Version", (version) => change({ version, level: null }));
    this.level = new Segmented("level", "Level", (level) => change({ level }));
    this.samples = new Segmented("samples", "Draws", (samples) => change({ samples }));
    this.number = html("input", { type: "number", min: 1, step: 1, inputmode: "numeric", placeholder: "other", "aria-label": "Number of draws", oninput: () => this.count() });
    this.samples.show(DRAWS, "auto");
    this.samples.choices.append(this.number);
    this.hint = html("p", { class: "fine" });
    root.append(this.model.field, this.version.field, this.level.element, this.samples.element, this.hint);
  }

  select(name, change) {
    const select = html("select", { onchange: () => change(select.value) });
    return { select, field: html("label", { class: "field" }, html("span", {}, name), select) };
  }

  // Wait until the number is typed.
  count() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.number.value && this.change({ samples: this.number.value }), PAUSE);
  }

  show(models, chosen, detail) {
    const versions = models.find(({ name }) => name === chosen.model).versions.filter(({ ready }) => ready);
    const named = ({ version, aliases }) => [version, [version, ...aliases].join(", ")];
    this.offer(this.model, models.map(({ name }) => [name, name]), chosen.model);
    this.offer(this.version, versions.map(named), detail.manifest.version);
    this.level.show(detail.manifest.levels.map(({ name }) => [name, name]), chosen.level);
    this.samples.show(DRAWS, chosen.samples);
    const other = !DRAWS.some(([value]) => value === chosen.samples);
    const level = detail.manifest.levels.find(({ name }) => name === chosen.level);
    const draws = chosen.samples === "auto" ? " Draws, auto: early stopping once more would change neither class nor decision." : "";
    this.hint.textContent = `Level ${level.name}: ${pruned(level)}.${draws}`;
    if (document.activeElement !== this.number) this.number.value = other ? chosen.samples : "";
    this.number.classList.toggle("chosen", other);
  }

  // Hide a choice of one.
  offer({ select, field }, options, value) {
    field.hidden = options.length < 2;
    select.replaceChildren(...options.map(([each, words]) => html("option", { value: each, selected: each === value }, words)));
  }
}

function pruned({ sparsity, granularity }) {
  if (sparsity === 0) return "the whole network";
  return `${percent(sparsity, 0)} of the weights are pruned away${granularity === "channel" ? ", in whole channels" : ""}`;
}
