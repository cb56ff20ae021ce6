// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const root = document.documentElement;
  const form = document.querySelector(".filters");
  const result = document.getElementById("result");
  root.classList.add("js");

  // What there is to filter, with its text read once.
  const low = (node) => node.textContent.toLowerCase();
  const articles = all(".control").map((node) => ({
    node,
    text: ["header", ".about"].map((part) => low(node.querySelector(part))).join(" ") + " " + node.dataset.group,
    rows: all(".row", node).map((row) => ({
      node: row,
      text: all(".evidence, .waiver, code", row).map(low).join(" "),
      hosts: all("[data-h]", row).map((host) => ({ node: host, number: host.dataset.h, text: low(host) })),
    })),
  }));
  const total = articles.reduce((sum, article) => sum + article.rows.reduce((rows, row) => rows + row.hosts.length, 0), 0);
  const count = (number, word) => number + " " + word + (number === 1 ? "" : "s");

  const checked = (name) => all("[name=" + name + "]:checked", form).map((box) => box.value);
  const wanted = () => ({
    q: form.q.value.trim(), group: form.group.value, host: form.host.value, severity: checked("severity"), status: checked("status"),
  });

  function show() {
    const { q, group, severity, status } = wanted();
    const host = form.host.selectedOptions[0].dataset.h;
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = { findings: 0, controls: 0, hosts: new Set() };
    for (const article of articles) {
      const right = (!group || article.node.dataset.group === group) && (!severity.length || severity.includes(article.node.dataset.severity));
      let rows = 0;
      for (const row of article.rows) {
        const here = right && (!status.length || status.includes(row.node.dataset.status));
        let hosts = 0;
        for (const one of row.hosts) {
          const fits = here && (!host || one.number === host)
            && words.every((word) => article.text.includes(word) || row.text.includes(word) || one.text.includes(word));
          one.node.hidden = !fits;
          if (fits) {
            hosts += 1;
            shown.hosts.add(one.number);
          }
        }
        row.node.hidden = !hosts;
        rows += hosts;
      }
      article.node.hidden = !rows;
      shown.findings += rows;
      shown.controls += rows ? 1 : 0;
    }
    const filtered = Boolean(q || group || host || severity.length || status.length);
    const passes = status.includes("pass") || status.includes("not_applicable");
    for (const details of all(".fine")) {
      const article = details.closest(".control");
      const rest = article && article.querySelector(".rows > .row:not([hidden])");
      details.open = filtered && (passes || (article ? !rest : words.length > 0));
    }
    for (const part of all(".severity, .fine")) {
      part.hidden = !part.querySelector(".row:not([hidden])");
    }
    for (const details of all(".who")) {
      details.open = Boolean(host || words.length);
    }
    for (const link of all("[data-host]")) {
      const same = link.dataset.host === host && (link.dataset.group || "") === group;
      link.setAttribute("aria-current", String(same));
    }
    document.querySelector(".nothing").hidden = shown.findings > 0;
    root.classList.toggle("filtered", filtered);
    result.textContent = filtered
      ? shown.findings + " of " + count(total, "finding") + ", " + count(shown.controls, "control") + ", " + count(shown.hosts.size, "host")
      : count(total, "finding") + ", " + count(shown.controls, "control");
  }

  // The filters stand in the address, so that a view can be linked to, and gone back to.
  function address() {
    const parts = new URLSearchParams();
    for (const [name, value] of Object.entries(wanted())) {
      if (value.length) {
        parts.set(name, Array.isArray(value) ? value.join(",") : value);
      }
    }
    return location.href.split("#")[0] + (parts.size ? "#" + parts : "");
  }

  function read() {
    const parts = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    form.reset();
    for (const name of ["q", "group", "host"]) {
      form[name].value = parts.get(name) || "";
      if (form[name].selectedIndex === -1) {
        form[name].selectedIndex = 0;
      }
    }
    for (const name of ["severity", "status"]) {
      const values = (parts.get(name) || "").split(",");
      all("[name=" + name + "]", form).forEach((box) => { box.checked = values.includes(box.value); });
    }
    show();
    const target = document.getElementById(parts.size ? "findings" : decodeURIComponent(location.hash.slice(1)));
    if (target) {
      all("details").filter((details) => details.contains(target)).forEach((details) => { details.open = true; });
      target.scrollIntoView();
    }
  }

  function change() {
    show();
    history.replaceState(null, "", address());
  }

  form.addEventListener("input", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("button").addEventListener("click", () => {
    form.reset();
    change();
  });
  addEventListener("hashchange", read);

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-host], a[data-severity]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    const { host, group, severity, status } = link.dataset;
    const statuses = status ? [status] : ["fail", "unknown", "waived"].filter((one) => link.dataset.group === undefined || link.dataset[one]);
    all("[type=checkbox]", form).forEach((box) => { box.checked = box.value === severity || statuses.includes(box.value); });
    form.q.value = "";
    form.group.value = group || "";
    form.host.selectedIndex = host === undefined ? 0 : Number(host) + 1;
    show();
    history.pushState(null, "", address());
    const heading = document.getElementById("findings");
    heading.focus({ preventScroll: true });
    heading.scrollIntoView();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) {
      return;
    }
    const code = button.parentNode.querySelector("code");
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Without HTTPS a browser has no clipboard to write to, but still copies what is selected.
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    button.textContent = done ? "Copied" : "Selected";
    document.getElementById("said").textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  const theme = document.querySelector(".theme");
  function paint(dark) {
    root.dataset.theme = dark ? "dark" : "light";
    theme.setAttribute("aria-pressed", String(dark));
  }
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem("appwrite-audit-theme");
  } catch {
    // A browser may keep nothing for a file.
  }
  paint(chosen ? chosen === "dark" : prefers.matches);
  prefers.addEventListener("change", () => paint(prefers.matches));
  theme.addEventListener("click", () => {
    paint(root.dataset.theme !== "dark");
    try {
      localStorage.setItem("appwrite-audit-theme", root.dataset.theme);
    } catch {
      // Then it holds until the page is closed.
    }
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

  read();
})();
