"use strict";
// Marks choices, keeps them in this browser, and hands them out as CSV. Nothing is sent anywhere.
const data = JSON.parse(document.getElementById("choices").textContent);
const fields = [...document.querySelectorAll("fieldset[data-row]")];
const table = document.getElementById("table");
const cell = (text) => '"' + text.replaceAll('"', '""') + '"';
const to = (field) => field.querySelector(".to input");
const chosen = (field) => field.querySelector("input[type=radio]:checked")?.value ?? "";

function csv() {
  const lines = fields.map((field, index) => {
    const row = data.rows[index], action = chosen(field);
    return [...row, action, action === "move" && to(field).value !== row[2] ? to(field).value : ""];
  });
  return [data.columns, ...lines].map((line) => line.map(cell).join(",") + "\n").join("");
}

function update() {
  const counts = { keep: 0, move: 0, delete: 0 };
  const marked = {};
  fields.forEach((field, index) => {
    const action = chosen(field);
    field.dataset.action = action;
    field.querySelector(".to").hidden = action !== "move";
    if (action) {
      counts[action] += 1;
      marked[data.rows[index][0]] = [action, to(field).value];
    }
  });
  const words = Object.entries(counts).filter(([, count]) => count).map(([action, count]) => `${count} to ${action}`);
  document.getElementById("summary").textContent = words.length ? words.join(", ") + ` of ${fields.length}` : "Nothing is marked.";
  table.value = csv();
  try { localStorage.setItem(data.key, JSON.stringify(marked)); } catch { /* a browser that keeps nothing for files */ }
}

function mark(field, action) {
  for (const radio of field.querySelectorAll("input[type=radio]")) radio.checked = radio.value === action;
}

try {
  const stored = JSON.parse(localStorage.getItem(data.key) ?? "{}");
  fields.forEach((field, index) => {
    const choice = Object.hasOwn(stored, data.rows[index][0]) ? stored[data.rows[index][0]] : null;
    if (choice) {
      mark(field, choice[0]);
      to(field).value = choice[1];
    }
  });
} catch { /* the same */ }

document.addEventListener("input", (event) => { if (event.target !== table) update(); });
document.addEventListener("keydown", (event) => {
  const field = event.target.closest?.("fieldset[data-row]");
  const action = { k: "keep", m: "move", d: "delete" }[event.key];
  if (!field || !action || event.target.type !== "radio" || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  mark(field, action);
  update();
  const next = fields[fields.indexOf(field) + 1];
  next?.querySelector("input[type=radio]:checked, input[type=radio]").focus();
});
document.getElementById("clear").addEventListener("click", () => {
  fields.forEach((field, index) => { mark(field, ""); to(field).value = data.rows[index][2]; });
  update();
});
document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "label_choices.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
document.getElementById("copy").addEventListener("click", async (event) => {
  try {
    await navigator.clipboard.writeText(csv());
    event.target.textContent = "Copied";
  } catch {
    table.closest("details").open = true;
    table.select();
    event.target.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  }
});
update();
