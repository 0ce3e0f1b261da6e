// The lead's page: invite, end an invitation, decide an item. Each is a post, then the page again.
const message = document.getElementById("live");
const { offline, refused } = document.querySelector("main").dataset;

async function post(action, body) {
  const request = {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  try {
    const reply = await fetch(`${action}?lang=${document.documentElement.lang}`, request);
    const result = await reply.json();
    if (!reply.ok) message.textContent = refused.replace("{reason}", result.error);
    else if (result.link) location.assign(result.link);
    else location.reload();
  } catch {
    message.textContent = offline;
  }
}

document.getElementById("invite").addEventListener("submit", (event) => {
  event.preventDefault();
  post("invite", { name: document.getElementById("name").value });
});

document.addEventListener("click", (event) => {
  const { post: action, name, value, item, items } = event.target.dataset;
  if (action === "revoke") post(action, { name, is_revoked: Boolean(value) });
  if (action === "decide") post(action, { items: (items || item).split(" ").map(Number) });
});
