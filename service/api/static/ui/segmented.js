// Segmented control: radio buttons in one piece.

import { html } from "./element.js";

export class Segmented {
  // `options` are [value, words]; `change` is called with the value that was chosen.
  constructor(name, legend, change) {
    this.name = name;
    this.change = change;
    this.choices = html("div", { class: "segments" });
    this.element = html("fieldset", { class: "segmented" }, html("legend", {}, legend), this.choices);
  }

  show(options, value) {
    const known = this.options?.map(([each]) => each).join();
    if (known !== options.map(([each]) => each).join()) {
      this.options = options;
      this.choices.replaceChildren(...options.map(([each, words]) => this.option(each, words)));
    }
    for (const input of this.choices.querySelectorAll("input")) input.checked = input.value === String(value);
  }

  option(value, words) {
    const change = () => this.change(value);
    return html("label", {}, html("input", { type: "radio", name: this.name, value, onchange: change }), html("span", {}, words));
  }
}
