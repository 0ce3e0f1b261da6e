// What the theme leaves out for keyboards and screen readers: names, and focus on what scrolls.
addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
  const scrolled = "pre code, .md-typeset__scrollwrap"
  for (const part of document.querySelectorAll(scrolled)) part.tabIndex = 0
  document.querySelectorAll(".md-code__nav").forEach((nav, number) => {
    nav.setAttribute("aria-label", `Code ${number + 1}`)
  })
})
