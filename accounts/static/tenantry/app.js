// Behaviour of the pages. No page needs it for its forms to work, but for the slug check and "as you type".
(() => {
  // --- Theme -----------------------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-toggle]")) window.toggleTheme();
  });

  // --- Times: the server writes UTC, the reader sees the local time -----------------------------------------------------
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

  const ago = (moment) => {
    const seconds = (moment - Date.now()) / 1000;
    const size = Math.abs(seconds);
    if (size < 60) return relative.format(Math.round(seconds), "second");
    if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
    if (size < 86400) return relative.format(Math.round(seconds / 3600), "hour");
    if (size < 7 * 86400) return relative.format(Math.round(seconds / 86400), "day");
    return date.format(moment);
  };

  const showTimes = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(element.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      element.title = exact.format(moment);
      const form = { full, clock }[element.dataset.format];
      element.textContent = form ? form.format(moment) : ago(moment);
    }
  };

  // --- Forms -----------------------------------------------------------------------------------------------------------
  // A form with data-confirm asks first, in the page's own dialog.
  const ask = (form) =>
    new Promise((resolve) => {
      const dialog = document.getElementById("confirm");
      dialog.querySelector("[data-confirm-text]").textContent = form.dataset.confirm;
      dialog.querySelector("[data-confirm-yes]").textContent = form.dataset.confirmAction || "Continue";
      dialog.returnValue = "";
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
      dialog.showModal();
    });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.method === "dialog") return;
    if (form.dataset.confirm && !form.dataset.confirmed) {
      event.preventDefault();
      const submitter = event.submitter;
      if (await ask(form)) {
        // A part of the page that moves may have been replaced while the question was open.
        const now = form.isConnected ? form : document.getElementById(form.id);
        if (!now) return;
        now.dataset.confirmed = "yes";
        now.requestSubmit(now === form ? submitter : null);
      }
      return;
    }
    if (event.defaultPrevented || form.method === "get") return;
    const button = event.submitter ?? form.querySelector("[type=submit]");
    if (!button) return;
    // After this event: a disabled button would not be sent with its form.
    setTimeout(() => {
      button.disabled = true;
      if (form.dataset.progress) {
        button.dataset.label = button.innerHTML;
        button.innerHTML = "";
        const spinner = document.createElement("span");
        spinner.className = "spinner-border spinner-border-sm me-2";
        spinner.setAttribute("aria-hidden", "true");
        button.append(spinner, form.dataset.progress);
        announce(form.dataset.progress);
      }
    });
  });

  // A page that comes back from the browser's memory must be usable again.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const button of document.querySelectorAll("button[disabled][type=submit]")) {
      button.disabled = false;
      if (button.dataset.label) button.innerHTML = button.dataset.label;
    }
  });

  const enhance = (root) => {
    showTimes(root);
    root.querySelector("[aria-invalid=true]")?.focus();
    for (const form of root.querySelectorAll("form[data-autosubmit]")) form.requestSubmit();
    for (const select of root.querySelectorAll("select[data-submit-on-change]")) {
      select.addEventListener("change", () => select.form.requestSubmit());
    }
  };

  // A file that is too large is refused here: a server that refuses it in the midst of sending only looks like a broken connection.
  document.addEventListener("change", (event) => {
    const input = event.target;
    if (!input.matches("input[type=file][data-max-bytes]")) return;
    const tooLarge = [...input.files].some((file) => file.size > Number(input.dataset.maxBytes));
    input.setCustomValidity(tooLarge ? input.dataset.tooLarge : "");
    document.getElementById(`${input.id}_error`).textContent = tooLarge ? input.dataset.tooLarge : "";
  });

  // --- An organisation's address: the server proposes one from its name, until somebody writes their own ------------------
  const address = document.querySelector("[data-slug]");
  if (address?.value) address.dataset.own = "yes";

  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-slug]")) event.target.dataset.own = event.target.value && "yes";
    if (event.target.matches("[data-slug-from]")) htmx.trigger(event.target, "propose");
  });
  // Asked here and not before the request: somebody may have begun to write since.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id === "address" && document.querySelector("[data-slug]").dataset.own) event.detail.shouldSwap = false;
  });

  // A list that asks for itself again waits while something in it is open: it would close under the reader's eyes.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const list = event.target;
    if (list.matches("[data-still-when-open]") && list.querySelector("details[open]")) event.preventDefault();
  });

  // --- Copying -----------------------------------------------------------------------------------------------------------
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    const text = source.value ?? source.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      announce("Copied.");
      button.classList.add("is-copied");
      const label = button.querySelector("[data-copy-label]");
      label.textContent = "Copied";
      setTimeout(() => (label.textContent = "Copy"), 2000);
    } catch {
      // No clipboard without a secure origin: select it, so that Ctrl+C does.
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      announce("Selected. Press Ctrl+C to copy.");
    }
  });

  // --- What happened, for eyes and screen readers -----------------------------------------------------------------------
  const announce = (text) => {
    const region = document.getElementById("announcer");
    if (region) region.textContent = text;
  };

  const complain = (text) => {
    const toasts = document.getElementById("toasts");
    if (!toasts) return;
    const alert = document.createElement("div");
    alert.className = "alert alert-danger";
    alert.setAttribute("role", "alert");
    alert.textContent = text;
    toasts.replaceChildren(alert);
    setTimeout(() => alert.remove(), 10000);
  };

  document.addEventListener("htmx:responseError", (event) => {
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const message = page.querySelector("[data-error-message]")?.textContent.trim();
    complain(message || "That didn't work. Reload the page and try again.");
  });
  document.addEventListener("htmx:sendError", () => complain("The server can't be reached. Check your connection and try again."));
  document.addEventListener("htmx:afterSettle", (event) => enhance(event.target));
  // What a script of a page put into it.
  document.addEventListener("page:grown", (event) => showTimes(event.target));

  enhance(document);
})();
