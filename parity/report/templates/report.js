"use strict";
// Charts that answer to the pointer, in place of their drawings.
for (const figure of document.querySelectorAll("figure.chart")) {
  const drawing = figure.querySelector(".drawing");
  const draw = () => {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    spec.width = Math.max(300, Math.min(spec.width * 1.4, drawing.clientWidth));
    if (spec.width < 480) {
      spec.config.legend.columns = 1;
      spec.config.axis.labelLimit = 110;
    }
    vegaEmbed(drawing, spec, { actions: false, renderer: "svg", ast: true }).catch(console.error);
  };
  // A closed section has no width yet.
  const section = figure.closest("details");
  if (!section || section.open) draw();
  else section.addEventListener("toggle", draw, { once: true });
}

// One picture with two masks: the handle says where the second begins.
for (const slide of document.querySelectorAll(".slide")) {
  const masks = slide.parentElement.querySelector(".masks");
  const input = slide.querySelector("input");
  const move = () => masks.style.setProperty("--at", `${input.value}%`);
  masks.classList.add("sliding");
  slide.hidden = false;
  input.addEventListener("input", move);
  move();
}

const large = document.getElementById("page:large");
for (const button of document.querySelectorAll(".enlarge")) {
  const picture = button.querySelector("img");
  button.addEventListener("click", () => {
    const shown = large.querySelector("img");
    shown.src = picture.src;
    shown.alt = picture.alt;
    large.showModal();
  });
}

// An address with a model's name opens its section.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
openTarget();

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const section of opened) section.open = true;
});
addEventListener("afterprint", () => {
  for (const section of opened) section.open = false;
});
