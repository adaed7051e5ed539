// Choose a picture: dropped, pasted, picked from disk, or one of the examples.

import { html } from "./element.js";

const TYPES = "image/png,image/jpeg,image/webp,image/bmp,image/gif";

export class PicturePanel {
  // `pick` is called with a picture { file, name }, `pickExample` with one of the examples.
  constructor(root, pick, pickExample) {
    Object.assign(this, { pick, pickExample });
    this.input = html("input", { type: "file", accept: TYPES, class: "hidden", id: "file", onchange: () => this.choose() });
    // A file that is not a picture has no preview; a tiny picture is shown pixelated.
    const failed = () => this.figure.classList.replace("filled", "unknown");
    const loaded = () => this.image.classList.toggle("tiny", this.image.naturalWidth < 64);
    this.image = html("img", { alt: "", onerror: failed, onload: loaded });
    this.seen = html("canvas", { role: "img" });
    this.figure = html("div", { class: "preview" }, this.image, html("p", { class: "fine" }, "No preview."));
    this.inset = html("figure", { class: "seen", hidden: true }, this.seen, html("figcaption"));
    this.caption = html("p", { class: "caption" });
    const label = html("label", { for: "file", class: "button primary" }, "Choose a picture");
    const hint = html("p", { class: "fine hint" }, "or drop or paste one");
    this.zone = html("div", { class: "drop" }, this.figure, html("div", { class: "pick" }, this.input, label, hint, this.inset));
    this.examples = html("div", { class: "examples", role: "group", "aria-label": "Examples" });
    root.append(this.zone, this.caption, this.examples);
    this.listen();
  }

  listen() {
    const files = (event) => [...(event.dataTransfer ?? event.clipboardData).files];
    // Accept drops on the whole page: the browser would open a picture dropped beside the zone.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.zone.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? this.zone.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      this.zone.classList.remove("over");
      this.take(files(event)[0]);
    });
    document.addEventListener("paste", (event) => this.take(files(event)[0]));
  }

  choose() {
    this.take(this.input.files[0]);
    this.input.value = ""; // so that the same file can be chosen again
  }

  take(file) {
    if (file) this.pick({ file, name: file.name || "pasted picture" });
  }

  // Show the examples for the model's data set, and those for any.
  showExamples(examples) {
    this.examples.replaceChildren(
      ...examples.map((example) =>
        html(
          "button",
          { type: "button", class: "example", "data-file": example.file, title: example.about, onclick: () => this.pickExample(example) },
          html("img", { src: `page/examples/${example.file}`, alt: "", width: 64, height: 64 }),
          html("span", {}, example.name),
        ),
      ),
    );
  }

  async show(picture, input) {
    for (const button of this.examples.children) {
      button.setAttribute("aria-pressed", button.dataset.file === picture.example?.file);
    }
    this.caption.textContent = picture.example ? `Example: ${picture.example.about}.` : picture.name;
    URL.revokeObjectURL(this.image.src);
    this.image.src = URL.createObjectURL(picture.file);
    this.image.alt = picture.example?.about ?? `your picture ${picture.name}`;
    this.figure.className = "preview filled";
    this.shown = picture;
    const bitmap = await createImageBitmap(picture.file).catch(() => null);
    if (this.shown === picture) this.showSeen(bitmap, input);
  }

  // Show approximately what the model receives: the centre of the picture at its size and in its colours.
  showSeen(bitmap, { width, height, channels }) {
    this.inset.hidden = bitmap === null;
    if (bitmap === null) return;
    const factor = Math.min(bitmap.width / width, bitmap.height / height);
    const [w, h] = [width * factor, height * factor];
    Object.assign(this.seen, { width, height });
    const context = this.seen.getContext("2d");
    context.filter = channels === 1 ? "grayscale(1)" : "none";
    context.imageSmoothingQuality = "high";
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h, 0, 0, width, height);
    this.seen.setAttribute("aria-label", `the picture at ${width} by ${height} pixels`);
    this.inset.querySelector("figcaption").textContent = `The model sees ${width} × ${height} pixels.`;
  }
}
