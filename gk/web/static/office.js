// The office page: puts the conversation, the mailbox and the keyboard together.

import { Chat } from "./chat.js";
import { find, localTimes } from "./dom.js";
import { refresh, seen, start, view } from "./fragments.js";

localTimes();
start();

const form = find("#ask-form");
const box = find("#ask");
const chat = new Chat(find("#log"), form);
chat.follow();

chat.addEventListener("read", ({ detail }) => seen(detail));

let later = 0;
chat.addEventListener("mail", () => {
  clearTimeout(later);
  later = setTimeout(refresh, 150); // several changes at once are one look
});

/** Puts words into the composer, to go on from there. */
function write(text) {
  box.value = text;
  box.dispatchEvent(new Event("input"));
  box.focus();
  box.setSelectionRange(text.length, text.length);
}

function say(text) {
  if (chat.say(text)) box.value = "";
  box.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say(event.submitter?.name === "say" ? event.submitter.value : box.value);
});

// Enter sends; in an empty composer the up arrow brings back what was said last.
box.addEventListener("keydown", (event) => {
  if (event.shiftKey || event.isComposing) return;
  if (event.key === "Enter") {
    event.preventDefault();
    form.requestSubmit();
  } else if (event.key === "ArrowUp" && !box.value && chat.last) {
    event.preventDefault();
    write(chat.last);
  }
});

// Escape stops the assistant before it closes anything else, except a menu that is open.
find("#stop").addEventListener("click", () => chat.stop());
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || !chat.working || find(".menu[open]")) return;
  event.stopPropagation();
  chat.stop();
}, { capture: true });

// The composer grows with its text; browsers that cannot do it by style alone get help.
if (!CSS.supports("field-sizing", "content")) {
  box.addEventListener("input", () => {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  });
}

// Reply and forward begin a sentence in the composer.
document.addEventListener("click", (event) => {
  const start = event.target.closest("[data-ask]");
  if (!start || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  view("conversation");
  write(start.dataset.ask);
});

// Approve or refuse. Enter in a field approves nothing: only the button does.
document.addEventListener("submit", (event) => {
  const card = event.target.closest(".gk-approval");
  if (!card) return;
  event.preventDefault();
  if (event.submitter) chat.decide(card, event.submitter.value === "yes");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".gk-approval input")) event.preventDefault();
});

// Menus close with Escape and when something else is chosen.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && find(".menu[open]");
  if (!menu) return;
  menu.open = false;
  find("summary", menu).focus();
});
