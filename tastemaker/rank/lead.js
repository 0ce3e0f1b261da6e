// The lead's page: invite, end an invitation, decide an item. Each is a post, then the page again.
const live = document.getElementById("live");
const lead = document.querySelector("main");

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  try {
    const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const value = await reply.json();
    if (!reply.ok) live.textContent = lead.dataset.refused.replace("{reason}", value.error);
    else if (value.link) location.assign(value.link);
    else location.reload();
  } catch {
    live.textContent = lead.dataset.offline;
  }
}

document.getElementById("invite").addEventListener("submit", (event) => {
  event.preventDefault();
  post("invite", { name: document.getElementById("name").value });
});

document.addEventListener("click", (event) => {
  const { post: path, name, value, item, items } = event.target.dataset;
  if (path === "revoke") post(path, { name, is_revoked: Boolean(value) });
  if (path === "decide") post(path, { items: (items || item).split(" ").map(Number) });
});
