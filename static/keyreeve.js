/* What the pages do beyond plain HTML. Everything here is optional: links, forms and <details> work without it. */
(() => {
  "use strict";
  const root = document.documentElement;
  const $ = (selector, scope = document) => scope.querySelector(selector);
  const $$ = (selector, scope = document) => [...scope.querySelectorAll(selector)];
  const remember = (name, value) => { try { localStorage.setItem(`keyreeve-${name}`, value); } catch { /* kept for this page only */ } };
  const recall = (name) => { try { return localStorage.getItem(`keyreeve-${name}`); } catch { return null; } };

  /* Theme */
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const nameTheme = () => $$("[data-theme-toggle]").forEach((button) => {
    $("[data-label]", button).textContent = isDark() ? "Light theme" : "Dark theme";
  });
  nameTheme();

  /* Dialogs: `command` does it where the browser knows it, this where not. */
  const knowsCommand = "commandForElement" in HTMLButtonElement.prototype;
  const open = (dialog) => { if (dialog && !dialog.open) dialog.showModal(); };
  const closeMenus = (except) => $$("details.menu[open]").forEach((menu) => { if (!menu.contains(except)) menu.open = false; });

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    const opener = at("[commandfor]");
    if (opener && !knowsCommand) {
      const dialog = document.getElementById(opener.getAttribute("commandfor"));
      event.preventDefault();
      if (opener.getAttribute("command") === "close") dialog?.close(); else open(dialog);
    }
    const link = at("[data-opens]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open(document.getElementById(link.dataset.opens));
    }
    if (at("[data-theme-toggle]")) {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember("theme", root.dataset.theme);
      nameTheme();
    }
    if (at("[data-dismiss]")) at(".toast, .notice")?.remove();
    if (at("[data-clear-picks]")) clearPicks();
    const dialog = event.target;
    if (dialog.matches?.("dialog[closedby=any]") && !("closedBy" in dialog)) dialog.close(); // the backdrop counts as the dialog
    closeMenus(event.target);
  });

  /* Picking rows */
  const picks = () => $$(".pick");
  const clearPicks = () => { $$(".pick:checked").forEach((box) => { box.checked = false; }); markPicks(); };
  const markAll = () => $$("[data-pick-all]").forEach((all) => {
    const boxes = $$(".pick", all.closest("table"));
    const count = boxes.filter((box) => box.checked).length;
    all.checked = count > 0 && count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  });
  const markPicks = () => {
    markAll();
    $$("[data-picked]").forEach((label) => { label.textContent = `${$$(".pick:checked", label.closest("form")).length} picked`; });
  };
  let lastPicked = null;
  markPicks();
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) {
      $$(".pick", event.target.closest("table")).forEach((box) => { box.checked = event.target.checked; });
    }
    if (event.target.matches(".pick")) { lastPicked = event.target; }
    if (event.target.matches("[data-pick-all], .pick")) markPicks();
    if (event.target.matches("[data-keys-toggle]")) remember("keys", event.target.checked ? "on" : "off");
  });
  const pickUpTo = (box) => {
    const boxes = picks();
    const [from, to] = [boxes.indexOf(lastPicked ?? box), boxes.indexOf(box)].sort((a, b) => a - b);
    boxes.slice(Math.max(from, 0), to + 1).forEach((each) => { each.checked = true; });
    lastPicked = box;
    markPicks();
  };

  /* The cursor: a brass notch that takes the real focus along. */
  const rows = () => $$("[data-row]").filter((row) => row.offsetParent !== null);
  const cursor = () => $("[data-row].cursor");
  const place = (row) => { if (row !== cursor()) { cursor()?.classList.remove("cursor"); row.classList.add("cursor"); } };
  const stand = (row) => {
    place(row);
    ($("th a, a.what, a, button", row) ?? row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const move = (step, mayTurn) => {
    const all = rows();
    if (!all.length) return;
    const to = all.indexOf(cursor()) + step;
    if (mayTurn && (to < 0 || to >= all.length) && turn(step)) return;
    stand(all[Math.min(Math.max(to, 0), all.length - 1)]);
  };
  /* Past the last row of a page comes the first of the next. */
  let turned = 0;
  const turn = (step) => {
    const link = $(step > 0 ? "a#page-later" : "a#page-earlier");
    if (!link || !cursor()) return false;
    turned = step;
    link.click();
    return true;
  };
  /* While a decision or the next page is on its way, keys wait, and none of them meets another row than it was meant for. */
  let isUnderWay = false;
  let ahead = [];
  const decided = [];
  const wait = () => { isUnderWay = true; };
  const carryOn = () => {
    isUnderWay = false;
    while (ahead.length && !isUnderWay && !$("dialog:modal")) act({ key: ahead.shift(), target: document.activeElement });
    if (!isUnderWay) ahead = [];
  };
  const forget = () => { isUnderWay = false; ahead = []; turned = 0; };
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("[data-row]");
    if (row) place(row);
  });

  /* Keys */
  const GO = { o: "overview", s: "server", c: "key", f: "flag", r: "todo" };
  let going = 0;
  const keysOn = () => recall("keys") !== "off";
  const isTyping = (element) => element.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  /* A key acts on what is picked, else on the row under the cursor, else on the page. */
  const keyed = (key) => {
    const found = (scope) => scope && $(`[data-key~="${CSS.escape(key)}"]`, scope);
    return ($(".pick:checked") && found($(".bulk"))) || found(cursor()) || found($(".page-head")) || found($(".decide"));
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if ($("details.menu[open]")) { const menu = $("details.menu[open]"); closeMenus(); $("summary", menu).focus(); }
      else if (event.target.closest?.(".decide input")) event.target.blur(); /* a reason is written: the next key decides */
      else if (!$("dialog[open]") && $(".pick:checked")) clearPicks();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event.target) || $("dialog:modal") || !keysOn()) return;
    if (isUnderWay && (event.key.length === 1 || event.key === "Enter")) {
      event.preventDefault();
      if (!event.repeat) ahead.push(event.key);
      return;
    }
    const used = act(event);
    if (used) event.preventDefault();
  });
  const act = (event) => {
    const { key } = event;
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = GO[key] && $(`.nav [data-go="${GO[key]}"]`);
      if (link) { link.click(); return true; }
    }
    if (key === "g") { going = Date.now(); return true; }
    if (key === "/") { open($("#palette")); return true; }
    if (key === "?") { open($("#keys")); return true; }
    if ((key === "j" || key === "k") && (rows().length || !$(".decide"))) { move(key === "j" ? 1 : -1, !event.repeat); return true; }
    const row = cursor();
    const box = row && $(".pick", row);
    if (key === "x" && box) { box.checked = !box.checked; lastPicked = box; markPicks(); return true; }
    if (key === "X" && box) { pickUpTo(box); return true; }
    if (key === "*" && $("[data-pick-all]")) { $("[data-pick-all]").click(); return true; }
    if (key === "Enter" && row && event.target.closest("a, button, summary, label, input") === null) { $("th a, a.what, a", row)?.click(); return true; }
    const usual = key === "Enter" && event.target === document.body && $(".decide [data-usual]");
    if (usual) { usual.click(); return true; }
    if (key === "u" && decided.length && !keyed(key)) { /* the last one, wherever the cursor has gone since */
      const last = document.getElementById(`decision-${decided.pop()}`)?.closest("[data-row]");
      if (last) stand(last);
    }
    const target = key.length === 1 && key !== " " && keyed(key);
    if (target) { target.focus({ preventScroll: true }); target.click(); return true; } /* a dialog gives the focus back to it */
    return false;
  };
  const keysToggle = $("[data-keys-toggle]");
  if (keysToggle) keysToggle.checked = keysOn();

  /* The palette becomes a combobox; its results come by htmx from the search page. */
  const palette = $("#palette");
  const field = palette && $("input", palette);
  if (field) {
    field.setAttribute("role", "combobox");
    field.setAttribute("aria-expanded", "true");
    field.setAttribute("aria-controls", "palette-results");
    const shown = () => $$("#palette-results a").filter((link) => link.offsetParent !== null);
    const activate = (link) => {
      $$("[data-active]", palette).forEach((each) => { delete each.dataset.active; each.removeAttribute("aria-selected"); });
      if (!link) { field.removeAttribute("aria-activedescendant"); return; }
      link.dataset.active = "";
      link.setAttribute("aria-selected", "true");
      field.setAttribute("aria-activedescendant", link.id);
      link.scrollIntoView({ block: "nearest" });
    };
    const dress = () => {
      const list = $("#palette-results");
      list.setAttribute("role", "listbox");
      $$("ul, li, h3", list).forEach((element) => element.setAttribute("role", "presentation"));
      $$("a", list).forEach((link, i) => { link.id = `palette-result-${i}`; link.setAttribute("role", "option"); link.tabIndex = -1; });
      activate(shown()[0]);
    };
    /* Places to go are on the page already and are narrowed while the search is under way. */
    const narrow = () => $$("[data-places] li", palette).forEach((item) => {
      item.hidden = !item.textContent.toLowerCase().includes(field.value.trim().toLowerCase());
      item.closest("[data-places]").hidden = $$("[data-places] li:not([hidden])", palette).length === 0;
    });
    field.addEventListener("input", () => { narrow(); activate(shown()[0]); });
    field.addEventListener("keydown", (event) => {
      const links = shown();
      const here = links.findIndex((link) => "active" in link.dataset);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        activate(links[(here + (event.key === "ArrowDown" ? 1 : links.length - 1) + links.length) % links.length]);
      } else if (event.key === "Enter" && links[here]) {
        event.preventDefault();
        links[here].click();
      }
    });
    palette.addEventListener("close", () => { field.value = ""; narrow(); });
    document.addEventListener("htmx:afterSwap", (event) => { if (event.detail.target.closest?.("#palette-results")) { narrow(); dress(); } });
    dress();
  }

  /* Empty filters stay out of the address. */
  document.addEventListener("submit", (event) => {
    if (event.target.matches("form[data-lean]")) $$("input, select", event.target).forEach((input) => { if (input.value === "") input.disabled = true; });
  });
  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.detail.elt.closest?.("form[data-lean]")) return;
    for (const [name, value] of [...event.detail.formData]) if (value === "") event.detail.formData.delete(name);
  });

  /* Toasts leave by themselves, unless they report a fault or somebody is reading them. */
  const linger = (toast) => {
    if (toast.dataset.lingers || toast.matches(".bad")) return;
    toast.dataset.lingers = "yes";
    const leave = () => { if (toast.matches(":hover, :focus-within")) setTimeout(leave, 2000); else toast.remove(); };
    setTimeout(leave, 6000);
  };
  $$(".toasts .toast").forEach(linger);
  const toasts = $(".toasts");
  if (toasts) new MutationObserver(() => $$(".toast", toasts).forEach(linger)).observe(toasts, { childList: true });

  /* htmx: say that something loads, keep the focus, open a dialog that was fetched. */
  const comesByItself = (event) => event.detail.elt?.matches?.("[data-live]");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (turned || event.detail.elt.closest?.(".decision")) wait();
    if (comesByItself(event) && $("details.menu[open]", event.detail.elt)) { event.preventDefault(); return; } /* somebody chooses */
    event.detail.target.setAttribute?.("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    event.detail.target.removeAttribute?.("aria-busy");
    if (!event.detail.successful) forget();
  });
  $("#dialog-slot")?.addEventListener("close", (event) => event.target.remove(), true);
  document.addEventListener("htmx:afterSettle", (event) => {
    const fragment = event.detail.elt;
    if (fragment.closest?.("#palette, [data-live]")) return;
    const slot = $("#dialog-slot");
    const fetched = slot && $("dialog:not([open])", slot);
    if (fetched) { forget(); open(fetched); return; }
    markPicks();
    if (turned && rows().length) { stand(rows().at(turned > 0 ? 0 : -1)); turned = 0; carryOn(); return; }
    if (!event.detail.requestConfig?.triggeringEvent) return; /* it came by itself: whoever reads stays where they are */
    const faults = $("[role=alert]", fragment);
    if (faults) { faults.tabIndex = -1; faults.focus(); return; }
    if (document.activeElement === document.body && fragment.isConnected) {
      const heading = $("h1, h2, h3, [tabindex='-1']", fragment) ?? fragment;
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    }
  });
  /* A decision about one row is made: its dialog closes, and the cursor goes on to the next row. */
  document.addEventListener("decided", (event) => {
    $("#dialog-slot dialog[open]")?.close();
    const row = document.getElementById(`decision-${event.detail.id}`)?.closest("[data-row]");
    if (row) {
      if (event.detail.step) decided.push(event.detail.id);
      place(row);
      move(event.detail.step, true);
    }
    if (!turned) carryOn();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const template = $("#fault");
    if (!template || !toasts || (comesByItself(event) && $(".toast.bad", toasts))) return; /* once is enough */
    const toast = template.content.cloneNode(true);
    $("p", toast).textContent = event.detail.xhr.status === 403 ? "You may not do this." : "It was not done: the server could not answer. What you saw is still on the page.";
    toasts.append(toast);
  });
  document.addEventListener("htmx:sendError", (event) => {
    const template = $("#fault");
    if (template && toasts && !(comesByItself(event) && $(".toast.bad", toasts))) toasts.append(template.content.cloneNode(true));
  });
})();
