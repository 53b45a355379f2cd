// Moves what mepmeta.figures.movement drew: a slider chooses the frame, a button plays from there and stops.
document.addEventListener("DOMContentLoaded", () => {
  for (const figure of document.querySelectorAll(".movement")) {
    const { paths, captions } = JSON.parse(figure.dataset.frames);
    const lines = figure.querySelectorAll(".path"), caption = figure.querySelector(".caption");
    const slider = figure.querySelector("input"), button = figure.querySelector("button");
    let timer = null;
    const show = () => {
      const frame = Number(slider.value);
      lines.forEach((line, n) => line.setAttribute("points", paths[n][frame]));
      caption.textContent = captions[frame];
    };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "play";
    };
    const advance = () => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    };
    slider.addEventListener("input", show);
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (slider.value === slider.max) slider.value = 0;
      button.textContent = "stop";
      timer = setInterval(advance, 150);
      show();
    });
  }
});
