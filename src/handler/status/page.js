"use strict";
{
  const update = async () => {
    // Not while a visitor selects text, or looks at another page.
    if (document.hidden || !getSelection().isCollapsed) return;
    for (let tries = 0; tries < 3; tries++) {
      const response = await fetch(location.pathname + location.search, {
        cache: "no-store", headers: { Accept: "text/html" },
      });
      if (!response.ok) throw new Error(response.statusText);
      const text = await response.text();
      // The report on a connection that the browser had opened ahead is as old as that.
      if (Number(response.headers.get("Age")) > 1 && tries < 2) continue;
      const page = new DOMParser().parseFromString(text, "text/html");
      document.querySelector("main").replaceWith(page.querySelector("main"));
      return;
    }
  };
  const repeat = async () => {
    let is_live = true;
    try { await update(); } catch { is_live = false; }
    document.body.classList.toggle("stale", !is_live);
    setTimeout(repeat, 2000);
  };
  setTimeout(repeat, 2000);
}
