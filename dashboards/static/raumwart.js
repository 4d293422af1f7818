// Makes pages live and keeps a caretaker's draft. Every page works without this file.
(() => {
  "use strict";
  const EVERY = 12000;
  const element = (id) => document.getElementById(id);

  // --- live pages -----------------------------------------------------------------------------
  const remembered = (store, key, value) => {
    try {
      if (value === undefined) return store.getItem(key);
      if (value === null) store.removeItem(key);
      else store.setItem(key, value);
    } catch { /* storage is switched off: nothing is remembered */ }
    return null;
  };
  let paused = remembered(sessionStorage, "paused") === "1";
  let told = new Map();

  const verdicts = () =>
    new Map([...document.querySelectorAll("[data-say]")].map((one) => [one.id, one.dataset.say]));

  const refresh = () => {
    if (!document.hidden && !paused) document.body.dispatchEvent(new Event("refresh"));
  };

  const fresh = () => {
    element("offline").textContent = "";
    document.body.classList.remove("stale");
    const changed = [...verdicts()].filter(([id, text]) => told.has(id) && told.get(id) !== text);
    if (changed.length) element("news").textContent = changed.map(([, text]) => text).join(". ");
    told = verdicts();
  };

  const lost = () => {
    element("offline").textContent = element("live").dataset.offline;
    document.body.classList.add("stale");
  };

  const pauseButton = () => {
    const button = element("pause");
    if (!button) return;
    const name = () => { button.textContent = paused ? button.dataset.go : button.dataset.pause; };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      paused = !paused;
      remembered(sessionStorage, "paused", paused ? "1" : "0");
      name();
      refresh();
    });
  };

  const live = () => {
    told = verdicts();
    document.body.addEventListener("htmx:after:swap", fresh);
    document.body.addEventListener("htmx:error", lost);
    document.body.addEventListener("htmx:response:error", lost);
    document.addEventListener("visibilitychange", refresh);
    window.addEventListener("online", refresh);
    setInterval(refresh, EVERY);
    pauseButton();
  };

  // --- a caretaker's draft --------------------------------------------------------------------
  const HALF_A_DAY = 12 * 3600 * 1000;

  const draft = (form) => {
    const key = `draft:${location.pathname}`;
    const read = () => {
      const kept = JSON.parse(remembered(localStorage, key) || "null");
      return kept && Date.now() - kept.at < HALF_A_DAY ? kept : null;
    };
    const keep = (waiting) => remembered(localStorage, key, JSON.stringify(
      { at: Date.now(), waiting, fields: [...new FormData(form)] }));

    const fill = (fields) => {
      for (const [name, value] of fields) {
        const field = form.elements[name];
        if (field && name !== "website" && !(name === "token" && field.value)) field.value = value;
      }
    };

    const send = async () => {
      element("waiting").textContent = "";
      keep(true);
      let answer;
      try {
        answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
      } catch {
        element("waiting").textContent = form.dataset.waiting;
        return;
      }
      if (answer.ok && answer.redirected) {
        remembered(localStorage, key, null);
        location.assign(answer.url);
      } else {
        // Something is to be corrected: send it the plain way, which shows the page that says so.
        keep(false);
        form.submit();
      }
    };

    const kept = read();
    // A page that came back with errors already holds the answers.
    if (kept && !element("errors")) fill(kept.fields);
    form.addEventListener("input", () => keep(false));
    form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
    const again = () => { if (read()?.waiting) send(); };
    window.addEventListener("online", again);
    setInterval(() => { if (element("waiting").textContent) again(); }, 20000);
    if (kept?.waiting) element("waiting").textContent = form.dataset.waiting;
  };

  if (element("live")) live();
  const form = document.querySelector("form[data-draft]");
  if (form) draft(form);
})();
