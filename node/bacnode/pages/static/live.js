// Loads the page again every few seconds and shows the parts that changed. Everything works without it.
"use strict";

(() => {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const seconds = Number(main.dataset.live);
  let tag = null;
  let timer = null;
  let paused = false;
  let failures = 0;

  const status = document.createElement("p");
  status.className = "live";
  const says = document.createElement("span");
  says.setAttribute("role", "status");
  const button = document.createElement("button");
  button.className = "quiet";
  button.type = "button";
  status.append(says, button);
  main.prepend(status);

  function show(text) {
    if (says.textContent !== text) says.textContent = text;
    button.textContent = paused ? "Go on" : "Pause";
  }

  // A part that someone is in, with the keyboard or a selection, is left as it is.
  function isInUse(part) {
    const selection = document.getSelection();
    const focused = document.activeElement;
    return (
      (focused && focused !== part && part.contains(focused) && !focused.matches(".scroll")) ||
      (selection && !selection.isCollapsed && part.contains(selection.anchorNode))
    );
  }

  function update(part, fresh) {
    if (part.outerHTML === fresh.outerHTML || isInUse(part)) return;
    const before = [...part.querySelectorAll(".scroll")].map((box) => ({
      left: box.scrollLeft,
      top: box.scrollTop,
      atEnd: box.scrollTop + box.clientHeight >= box.scrollHeight - 4,
      focused: box === document.activeElement,
    }));
    const imported = document.importNode(fresh, true);
    part.replaceWith(imported);
    imported.querySelectorAll(".scroll").forEach((box, index) => {
      const was = before[index];
      if (!was) return;
      box.scrollLeft = was.left;
      box.scrollTop = was.atEnd && box.matches(".log") ? box.scrollHeight : was.top;
      if (was.focused) box.focus({ preventScroll: true });
    });
  }

  async function look() {
    const headers = { Accept: "text/html" };
    if (tag) headers["If-None-Match"] = tag;
    const answer = await fetch(location.href, { headers, cache: "no-store", credentials: "same-origin" });
    if (answer.status === 401) return location.reload();
    if (answer.status === 304) return;
    if (!answer.ok) throw new Error(String(answer.status));
    tag = answer.headers.get("ETag");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const parts = new Map([...fresh.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    // Something new to show that has no place yet, such as the report of a job that has ended.
    let last = null;
    for (const [name, part] of parts) {
      const known = document.querySelector(`[data-part="${name}"]`);
      if (known) update(known, part);
      else if (last) document.querySelector(`[data-part="${last}"]`).after(document.importNode(part, true));
      last = name;
    }
    if (!fresh.querySelector("main[data-live]")) {
      clearTimeout(timer);
      paused = true;
      status.remove();
    }
  }

  async function turn() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      await look();
      failures = 0;
      if (paused) return;
      show("Live");
    } catch {
      failures += 1;
      show("The node does not answer; trying again");
    }
    timer = setTimeout(turn, Math.min(30, seconds * (1 + failures)) * 1000);
  }

  button.addEventListener("click", () => {
    paused = !paused;
    show(paused ? "Paused" : "Live");
    turn();
  });
  document.addEventListener("visibilitychange", turn);
  for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
  show("Live");
  timer = setTimeout(turn, seconds * 1000);
})();
