"use strict";
// Shows one stage of the randomization at a time. Without it all stages stand below one another.
{
  const slider = document.getElementById("stage");
  const every = document.getElementById("every-stage");
  const shownName = document.getElementById("stage-name");
  const rows = [...document.querySelectorAll("tr[data-stage]")];

  const show = () => {
    for (const row of rows) {
      row.hidden = !every.checked && row.dataset.stage !== slider.value;
    }
    const name = rows.find((row) => row.dataset.stage === slider.value).dataset.name;
    shownName.textContent = name;
    slider.setAttribute("aria-valuetext", name);
    slider.disabled = every.checked;
  };

  const follow = () => {
    const asked = /^#stage=(\d+)$/.exec(location.hash);
    if (asked) {
      slider.value = asked[1];
    }
    show();
  };

  if (slider) {
    document.querySelector(".slider").hidden = false;
    slider.addEventListener("input", show);
    every.addEventListener("input", show);
    addEventListener("hashchange", follow);
    follow();
  }
}
