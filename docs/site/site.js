// What the theme leaves out for keyboards and screen readers: names, focus on what scrolls, and the
// language of Chinese pages.
addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
  if (/[/.]zh\//.test(location.pathname)) document.querySelector("article").lang = "zh-CN"
  const scrolled = "pre code, .md-typeset__scrollwrap"
  for (const part of document.querySelectorAll(scrolled)) part.tabIndex = 0
  document.querySelectorAll(".md-code__nav").forEach((nav, number) => {
    nav.setAttribute("aria-label", `Code ${number + 1}`)
  })
})
