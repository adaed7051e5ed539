// Client of the service's HTTP API; errors become a Problem with the service's own message.

const KEY = "slimbayes-key";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Api {
  // `askForKey(reason)` resolves to a key, or to null where none is given.
  constructor(askForKey) {
    this.askForKey = askForKey;
    this.asking = null;
  }

  models = () => this.json("models");

  examples = () => this.json("page/examples/examples.json");

  example = async (file) => (await this.fetch(`page/examples/${file}`)).blob();

  version = (model, version) =>
    this.json(`models/${encodeURIComponent(model)}${version ? `/versions/${encodeURIComponent(version)}` : ""}`);

  status = () => this.json("status");

  // The browser may not know the file's type; the service detects it from the bytes.
  predict = (picture, query, signal) => {
    const body = new FormData();
    body.append("images", picture);
    const given = Object.entries(query).filter(([, value]) => value !== null);
    return this.json(`predict?${new URLSearchParams(given)}`, { method: "POST", body, signal });
  };

  hasKey = () => sessionStorage.getItem(KEY) !== null;

  setKey = (key) => (key === null ? sessionStorage.removeItem(KEY) : sessionStorage.setItem(KEY, key));

  json = async (path, options) => (await this.fetch(path, options)).json();

  async fetch(path, options = {}) {
    const key = sessionStorage.getItem(KEY);
    const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
    let response;
    try {
      response = await fetch(new URL(path, document.baseURI), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "the service cannot be reached: is it still running?");
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const detail = problem.detail ?? `the service answered ${response.status}`;
    if (response.status === 401 && (await this.newKey(key, detail))) return this.fetch(path, options);
    throw new Problem(response.status, detail);
  }

  // Resolve to whether there is a key other than the refused one; concurrent requests share one dialog.
  async newKey(refused, reason) {
    if (sessionStorage.getItem(KEY) !== refused) return true;
    this.asking ??= this.askForKey(reason).finally(() => (this.asking = null));
    const key = await this.asking;
    if (key !== null) this.setKey(key);
    return key !== null;
  }
}
