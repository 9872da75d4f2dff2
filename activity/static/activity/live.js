// The activity page's live tail: new events come as the rows that the server would have drawn, and are put on top.
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const list = document.getElementById("events");
  const toggle = document.getElementById("live-switch");
  const status = document.getElementById("live-status");
  const url = new URL(live.dataset.url, location.href);

  const MOST = 500; // rows that are added before the page asks to be reloaded
  const PAUSES = [2000, 5000, 15000, 30000]; // milliseconds before a refused stream is asked for again
  let last = Number(url.searchParams.get("after"));
  let added = 0;
  let refusals = 0;
  let source = null;
  let again = null;
  let telling = null;

  const say = (text) => {
    if (status.textContent !== text) status.textContent = text;
  };

  const close = () => {
    clearTimeout(again);
    source?.close();
    source = null;
  };

  const open = () => {
    close();
    if (!toggle.checked || document.hidden || added >= MOST) return;
    url.searchParams.set("after", last);
    source = new EventSource(url, { withCredentials: true });
    source.addEventListener("open", () => {
      refusals = 0;
      say(added ? told() : "New events appear here by themselves.");
    });
    source.addEventListener("message", add);
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CONNECTING) return say("The connection was lost. Connecting again…");
      // It was refused: the browser leaves it at that, and what is in the way may pass.
      say("New events can't be followed right now. Reload the page to see them.");
      again = setTimeout(open, PAUSES[Math.min(refusals++, PAUSES.length - 1)]);
    });
  };

  const add = (event) => {
    const number = Number(event.lastEventId);
    if (!(number > last)) return;
    last = number;
    document.getElementById("no-events")?.remove();
    list.insertAdjacentHTML("afterbegin", event.data);
    const row = list.firstElementChild;
    row.classList.add("is-new");
    row.dispatchEvent(new CustomEvent("page:grown", { bubbles: true }));
    added += 1;
    // Not each by itself: a screen reader would have no end of it.
    telling ??= setTimeout(() => {
      telling = null;
      say(told());
    }, 1000);
    if (added >= MOST) {
      close();
      toggle.checked = false;
      clearTimeout(telling);
      say(`${told()} Reload it to go on from the newest.`);
    }
  };

  const told = () => `${added} new event${added === 1 ? "" : "s"} since you opened this page.`;

  toggle.addEventListener("change", () => {
    if (toggle.checked) {
      say("Connecting…");
      open();
    } else {
      close();
      say("Paused. What happens meanwhile appears when you go on.");
    }
  });
  // A page that nobody looks at holds no connection: browsers allow few of them to one host.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());

  live.hidden = false;
  open();
})();
