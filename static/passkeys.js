/* Say on the page that a passkey or security key did not work; else only the console would. */
(() => {
  "use strict";
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const said = document.getElementById("passkey-fault");
    said.hidden = false;
    said.scrollIntoView({ block: "nearest" });
  });
})();
