/* What is around the page: Airflow, with its own light or dark and its own time zone, or nothing. */

function outer() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null; // a page of somebody else
  }
}

/** Return "light" or "dark": as Airflow has been set, or else as the system is. */
export function scheme() {
  const root = outer()?.documentElement;
  const said = root && (root.dataset.theme || root.className);
  const found = /\b(dark|light)\b/.exec(said || "");
  if (found) return found[1];
  return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Return the time zone that Airflow shows its times in, or else the system's. */
export function zone() {
  try {
    const chosen = JSON.parse(localStorage.getItem("timezone")); // where Airflow's pages keep it
    new Intl.DateTimeFormat("en", { timeZone: chosen });
    if (chosen) return chosen;
  } catch {
    // none, or none that this browser knows
  }
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Call back when the scheme or the time zone may have changed. */
export function watch(changed) {
  const around = outer();
  if (around) new MutationObserver(changed).observe(around.documentElement, { attributes: true });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  window.addEventListener("storage", (event) => { if (event.key === "timezone") changed(); });
}

/** Return the address of a page or route of the Airflow that serves this page, below whatever path. */
export function airflow(path) {
  return new URL(`../../${path}`, import.meta.url).href; // this file is in windrow/static/
}

/** Have a link open in place of Airflow's page. Airflow's frame lets no page inside do so, hence a link outside. */
export function opensOutside(link) {
  link.addEventListener("click", (event) => {
    const around = outer();
    if (!around || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const twin = around.createElement("a");
    twin.href = link.href;
    around.body.append(twin);
    twin.click();
    twin.remove();
  });
}
