// Loaded first and not deferred, so that a page never flashes in the other theme. Follows the system until someone chooses.
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is blocked: follow the system
    }
  };
  const apply = () => root.setAttribute("data-bs-theme", remembered() ?? (system.matches ? "dark" : "light"));

  window.toggleTheme = () => {
    const chosen = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
    root.setAttribute("data-bs-theme", chosen);
    try {
      if (chosen === (system.matches ? "dark" : "light")) localStorage.removeItem("theme");
      else localStorage.setItem("theme", chosen);
    } catch {
      // storage is blocked: the choice lasts for this page
    }
  };

  system.addEventListener("change", apply);
  apply();
})();
