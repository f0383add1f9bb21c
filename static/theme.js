// Loaded in the head, before the first paint: a chosen theme must not flash the other one.
try {
  const theme = localStorage.getItem("keyreeve-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* storage may be switched off; the system's theme is fine then */ }
document.documentElement.dataset.script = "on";
