// Before the first paint, so it is no module: the chosen look, kept in this browser. "auto" follows the system.

(() => {
  const LOOKS = ["auto", "dark", "light"];
  const KEY = "derivfleet-theme";
  const read = () => {
    try {
      return localStorage.getItem(KEY) ?? "auto";
    } catch {
      return "auto"; // storage is closed to us: the system's look it is
    }
  };
  let look = LOOKS.includes(read()) ? read() : "auto";

  function apply() {
    if (look === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = look;
    const button = document.getElementById("theme");
    if (button) {
      button.dataset.look = look;
      button.setAttribute("aria-label", `Theme: ${look}. Change it.`);
      button.title = `Theme: ${look} (t)`;
    }
  }

  window.nextTheme = () => {
    look = LOOKS[(LOOKS.indexOf(look) + 1) % LOOKS.length];
    try {
      localStorage.setItem(KEY, look);
    } catch {
      // it holds until the page is closed
    }
    apply();
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", window.nextTheme);
  });
})();
