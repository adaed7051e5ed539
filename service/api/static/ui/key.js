// Dialog that asks for an API key.

export class KeyDialog {
  constructor(dialog) {
    this.dialog = dialog;
    this.field = dialog.querySelector("input");
    this.reason = dialog.querySelector("#key-reason");
  }

  // Resolve to the key that was typed, or to null.
  ask(reason) {
    this.reason.textContent = reason;
    this.field.value = "";
    this.dialog.returnValue = "";
    this.dialog.showModal();
    return new Promise((resolve) => {
      const done = () => resolve(this.dialog.returnValue === "use" ? this.field.value.trim() : null);
      this.dialog.addEventListener("close", done, { once: true });
    });
  }
}
