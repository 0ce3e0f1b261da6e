// Scores the text without loading the page again. Without this file the form still works.
"use strict";
const element = (name) => document.getElementById(name);
const digits = { probabilities: 3, ratings: 2 };

function show(reply) {
  const score = reply.scores[0];
  element("score").textContent = (score < 0 ? "−" : "+") + Math.abs(score).toFixed(3);
  for (const name of Object.keys(digits)) {
    const row = element(name);
    row.hidden = !(name in reply);
    if (name in reply) row.querySelector("dd").textContent = reply[name][0].toFixed(digits[name]);
  }
  element("truncated").hidden = !reply.truncated[0];
  element("problem").hidden = true;
  element("result").hidden = false;
}

function refuse(message) {
  element("problem").textContent = message;
  element("problem").hidden = false;
  element("result").hidden = true;
  element("truncated").hidden = true;
}

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ model: element("model").value, inputs: [element("text").value] });
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("score", { method: "POST", headers, body });
    const reply = await answer.json();
    if (answer.ok) show(reply);
    else refuse(reply.error.message);
  } catch {
    refuse("The server did not answer.");
  }
});
