// Replaces the result without loading the page again. Without this file the form still works.
"use strict";
const form = document.getElementById("form");
const button = document.getElementById("send");

function show(node) {
  document.getElementById("result").replaceWith(node);
  // on a phone the result is below the screen
  if (node.getBoundingClientRect().top > 0.7 * innerHeight) node.scrollIntoView();
}

function problem(message) {
  const result = document.createElement("div");
  result.id = "result";
  result.setAttribute("aria-live", "polite");
  const line = result.appendChild(document.createElement("p"));
  line.className = "problem";
  line.textContent = message;
  show(result);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  button.disabled = true;
  document.getElementById("result").setAttribute("aria-busy", "true");
  try {
    const fields = new FormData(form);
    if (fields.get("mode") === "one") fields.delete("other");
    const answer = await fetch(location.href, { method: "POST", body: new URLSearchParams(fields) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const result = page.getElementById("result");
    if (result) show(result);
    else problem(`The server answered with status ${answer.status}.`);
  } catch {
    problem("The server did not answer.");
  }
  button.disabled = false;
});

form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
