"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const several = data.runs.length > 1;
  const SAYS = { real: "real", inverted: "inverted", sample: "generated", neighbour: "nearest training crop" };
  const state = { position: 0, playing: false, seconds: 0, sought: false, chosen: null, before: null };

  // ---- Files: each is decoded when it is needed first.

  const addresses = new Map();
  const parsed = new Promise((resolve) => {
    if (document.readyState !== "loading") resolve();
    else document.addEventListener("DOMContentLoaded", resolve);
  });

  async function address(file) {
    if (data.linked) return file;
    if (!addresses.has(file)) {
      // The last epochs lie first in the page, and can be heard while the others are still being read.
      if (!element(file)) await parsed;
      const { textContent, dataset } = element(file);
      const bytes = Uint8Array.from(atob(textContent), (letter) => letter.charCodeAt(0));
      if (!addresses.has(file)) addresses.set(file, URL.createObjectURL(new Blob([bytes], { type: dataset.mime })));
      element(file).remove();
    }
    return addresses.get(file);
  }

  // ---- Which moment of each run a position of the slider is.

  let positions = [];

  function place(by) {
    const lengths = data.runs.map((run) => run.moments.length);
    if (by === "batches") {
      const batches = [...new Set(data.runs.flatMap((run) => run.moments.map(([, batch]) => batch)))];
      batches.sort((one, other) => one - other);
      positions = batches.map((batch) =>
        data.runs.map((run) => Math.max(0, run.moments.findLastIndex(([, each]) => each <= batch))));
    } else {
      const last = Math.max(1, Math.max(...lengths) - 1);
      positions = Array.from({ length: Math.max(...lengths) }, (_, index) =>
        lengths.map((length) => Math.round((index / last) * (length - 1))));
    }
    for (const slider of document.querySelectorAll("#epoch, .own input")) slider.max = positions.length - 1;
  }

  function told(position) {
    const moments = data.runs.map((run, index) => run.moments[positions[position][index]]);
    if (!several) return `epoch ${moments[0][0]}`;
    const epochs = moments.map(([epoch]) => epoch);
    return `epoch ${new Set(epochs).size === 1 ? epochs[0] : epochs.join(" | ")}`;
  }

  function toldAtLength(position) {
    const batches = [...new Set(data.runs.map((run, index) => run.moments[positions[position][index]][1]))];
    const last = several ? "" : ` of ${data.runs[0].moments.at(-1)[0]}`;
    return `${told(position)}${last}, batch ${batches.map((batch) => batch.toLocaleString("en")).join(" | ")}`;
  }

  // ---- Cards: what has one index, with a pane for each of its sounds.

  const cards = [];
  const panes = [];
  const copy = (id) => element(id).content.firstElementChild.cloneNode(true);

  function build(kind) {
    const severalRows = data[kind].some((card) => card.rows.length > 1);
    const single = data[kind].every((card) => card.rows.every((row) => row.panes.length < 2));
    element(kind).classList.add(severalRows ? "wide" : single ? "narrow" : "pairs");
    for (const { index, rows } of data[kind]) {
      const article = copy("card");
      const labels = [...new Set(rows.flatMap((row) => row.panes.map((pane) => pane.label)).filter(Boolean))];
      const name = `${kind === "samples" ? "sample" : "reference"} ${index}`;
      const card = { name: [name, ...labels].join(" · "), kind, index, own: null, panes: [] };
      article.querySelector("h3").textContent = card.name;
      card.label = article.querySelector(".own");
      card.slider = card.label.querySelector("input");
      card.slider.setAttribute("aria-label", `Epoch of ${name} alone`);
      card.slider.addEventListener("input", () => { card.own = card.slider.valueAsNumber; choose(first(card), false); draw(); });
      if (kind === "references") card.label.hidden = true;
      for (const row of rows) {
        const block = copy("row");
        const of = row.runs.length === data.runs.length && several ? "all runs" : row.runs.map((run) => data.runs[run].name).join(", ");
        block.querySelector(".of span:last-child").textContent = of;
        for (const run of row.runs) block.querySelector(".key").classList.add(`colour-${run % 6}`);
        block.querySelector(".key").hidden = row.runs.length > 1;
        block.querySelector(".of").hidden = !several;
        for (const pane of row.panes) block.querySelector(".panes").append(buildPane(card, row, of, pane));
        article.querySelector(".rows").append(block);
      }
      cards.push(card);
      element(kind).append(article);
    }
  }

  function buildPane(card, row, of, { role, clips }) {
    const figure = copy("pane");
    const pane = { card, role, clips, run: row.runs[0], figure, clip: null, of: several ? `, ${of}` : "" };
    for (const [name, selector] of [["image", "img"], ["wave", "path"], ["seek", ".seek"], ["button", ".play"], ["when", ".when"]])
      pane[name] = figure.querySelector(selector);
    figure.querySelector("b").textContent = SAYS[role];
    const known = data.clips[clips.find((clip) => clip !== null)];
    pane.seek.max = known.seconds;
    pane.seek.value = 0;
    axes(figure, known);
    pane.button.addEventListener("click", () => {
      if (state.chosen === pane && state.playing) pause();
      else { if (state.chosen !== pane && !state.playing) state.seconds = 0; choose(pane); play(); }
    });
    pane.seek.addEventListener("input", () => { const to = pane.seek.valueAsNumber; choose(pane); seek(to); });
    pane.seek.addEventListener("pointerup", () => { choose(pane); play(); });
    card.panes.push(pane);
    panes.push(pane);
    return figure;
  }

  function step(range, most) {
    const raw = range / most, size = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].map((each) => each * size).find((each) => each >= raw);
  }

  function axes(figure, { rate, seconds }) {
    const top = rate / 2, hertz = figure.querySelector(".hertz"), across = figure.querySelector(".seconds");
    for (let at = 0, by = step(top, 4.5); at <= top * 1.001; at += by) {
      const label = hertz.appendChild(document.createElement("span"));
      label.textContent = at === 0 ? "0 Hz" : by < 1000 && top < 2000 ? `${at} Hz` : `${+(at / 1000).toPrecision(3)} kHz`;
      label.style.bottom = `${(100 * at) / top}%`;
      label.classList.toggle("top", at > 0.95 * top);
    }
    for (let count = 0, by = step(seconds, 4.5); count * by <= seconds * 1.001; count += 1) {
      const label = across.appendChild(document.createElement("span"));
      label.textContent = `${+(count * by).toPrecision(3)} s`;
      label.style.left = `${(100 * count * by) / seconds}%`;
      label.classList.toggle("end", count * by > 0.93 * seconds);
    }
  }

  // ---- What is to be seen at a position.

  const positionOf = (card) => card.own ?? state.position;

  function momentOf(pane) {
    if (pane.card.kind === "references") return 0;
    const here = positions[positionOf(pane.card)][pane.run];
    if (pane.role !== "neighbour" || pane.clips[here] !== null) return here;
    // Neighbours are looked for every few epochs only.
    const batch = (moment) => data.runs[pane.run].moments[moment][1];
    const found = pane.clips.flatMap((clip, moment) => (clip === null ? [] : [moment]));
    return found.reduce((best, each) =>
      Math.abs(batch(each) - batch(here)) < Math.abs(batch(best) - batch(here)) ? each : best);
  }

  function title(pane) {
    const when = pane.card.kind === "references" ? "" : `, epoch ${data.runs[pane.run].moments[momentOf(pane)][0]}`;
    return `${pane.card.name}, ${SAYS[pane.role]}${when}${pane.of}`;
  }

  function show(pane) {
    const moment = momentOf(pane), clip = pane.clips[moment];
    if (pane.card.kind === "samples") {
      const epoch = data.runs[pane.run].moments[moment][0];
      pane.when.textContent = clip === null ? `nothing of epoch ${epoch} was kept` : `${pane.role === "neighbour" ? "of " : ""}epoch ${epoch}`;
    }
    pane.button.setAttribute("aria-label", `Play ${title(pane)}`);
    pane.seek.setAttribute("aria-label", `Place in ${title(pane)}`);
    if (clip === pane.clip) return;
    pane.clip = clip;
    pane.figure.classList.toggle("nothing", clip === null);
    pane.button.disabled = pane.seek.disabled = clip === null;
    if (clip === null) { pane.wave.setAttribute("d", ""); return; }
    const { outline, files: [, picture] } = data.clips[clip];
    const levels = Array.from(atob(outline), (letter) => letter.charCodeAt(0) / data.loudest);
    const at = (index) => ((index + 0.5) * 200) / levels.length;
    const edge = (sign) => levels.map((level, index) => `${at(index).toFixed(1)} ${(sign * 0.92 * level).toFixed(3)}`);
    pane.wave.setAttribute("d", `M${edge(-1).join("L")}L${edge(1).reverse().join("L")}Z`);
    address(picture).then((url) => {
      if (pane.clip !== clip) return;
      pane.image.src = url;
      pane.image.alt = `Spectrogram of ${title(pane)}, low frequencies at the bottom`;
    });
  }

  let drawing = false;

  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      for (const card of cards) {
        const position = positionOf(card);
        card.slider.value = position;
        card.slider.setAttribute("aria-valuetext", told(position));
        card.label.classList.toggle("moved", card.own !== null && card.own !== state.position);
        card.label.querySelector("span").textContent = told(position);
      }
      panes.forEach(show);
      element("epoch").value = state.position;
      element("epoch").setAttribute("aria-valuetext", toldAtLength(state.position));
      element("when").textContent = toldAtLength(state.position);
      element("earlier").disabled = state.position === 0;
      element("later").disabled = state.position === positions.length - 1;
      mark();
      hear();
    });
  }

  function move(position) {
    state.position = Math.min(Math.max(position, 0), positions.length - 1);
    for (const card of cards) card.own = null;
    draw();
  }

  // ---- Charts.

  const chartFigures = [...document.querySelectorAll(".chart")];

  function mark() {
    const { left, right, batches: [from, to] } = data.chart;
    const batchOf = (run) => data.runs[run].moments[positions[state.position][run]][1];
    chartFigures.forEach((figure, index) => {
      for (const line of figure.querySelectorAll(".marker")) {
        const x = left + ((batchOf(Number(line.dataset.run)) - from) / (to - from)) * (right - left);
        line.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
      }
      figure.querySelectorAll("output").forEach((output, number) => {
        const { run, points, deviations } = data.charts[index][number];
        // A curve is told where it was measured last, not before its first point.
        const point = points.findLast(([batch]) => batch <= batchOf(run));
        const spread = deviations && point ? ` ± ${deviations[points.indexOf(point)]}` : "";
        output.textContent = point ? `${point[1]}${spread}` : "–";
      });
    });
  }

  chartFigures.forEach((figure) => figure.querySelector("svg").addEventListener("click", ({ clientX, currentTarget }) => {
    const { left, right, width, batches: [from, to] } = data.chart, box = currentTarget.getBoundingClientRect();
    const batch = from + ((((clientX - box.left) / box.width) * width - left) / (right - left)) * (to - from);
    const far = (position) => Math.abs(Math.max(...data.runs.map((run, index) => run.moments[positions[position][index]][1])) - batch);
    move(positions.reduce((best, _, index) => (far(index) < far(best) ? index : best), 0));
  }));

  // ---- Sound: two players take turns, so that one sounds until the other is ready.

  const players = [...document.querySelectorAll("audio")];
  let current = players[0];
  let loaded = null;
  let wanted = null;

  const ready = (player) => new Promise((resolve, reject) => {
    player.addEventListener("canplay", resolve, { once: true });
    player.addEventListener("error", () => reject(player.error), { once: true });
  });

  function level(clip) {
    return element("match").checked ? 10 ** (data.clips[clip].gain / 20) : 1;
  }

  async function hear() {
    const { chosen } = state, clip = chosen?.clip ?? null;
    tell();
    if (clip === wanted) return;
    wanted = clip;
    if (clip === null || clip === loaded) return;
    const next = players.find((player) => player !== current);
    try {
      const url = await address(data.clips[clip].files[0]);
      if (wanted !== clip) return;
      next.pause();
      next.src = url;
      await ready(next);
      if (wanted !== clip) return;
      next.volume = level(clip);
      next.loop = element("then").value === "repeat";
      const at = state.playing && !state.sought && !current.paused ? current.currentTime : state.seconds;
      next.currentTime = at < next.duration ? at : 0;
      if (state.playing) await next.play();
      if (wanted !== clip) { next.pause(); return; }
    } catch (error) {
      if (wanted === clip) { wanted = null; stop(`this browser cannot play it (${error?.message || error})`); }
      return;
    }
    current.pause();
    current = next;
    loaded = clip;
    state.sought = false;
    if (state.playing && current.paused) current.play();
    if (!state.playing) current.pause();
  }

  function tell(trouble) {
    const { chosen } = state;
    element("now").textContent = trouble ?? (chosen ? title(chosen) : "");
    element("play").setAttribute("aria-pressed", state.playing);
    element("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
    for (const pane of panes) pane.button.setAttribute("aria-pressed", pane === chosen && state.playing);
  }

  function play() {
    state.playing = true;
    if (state.chosen.clip === loaded && wanted === loaded) {
      current.currentTime = state.seconds;
      current.play().catch((error) => stop(`this browser does not play it (${error.message})`));
    }
    hear();
    requestAnimationFrame(follow);
  }

  function pause() {
    state.playing = false;
    current.pause();
    tell();
  }

  function stop(trouble) {
    pause();
    if (trouble) tell(trouble);
  }

  function seek(seconds) {
    state.seconds = Math.min(Math.max(seconds, 0), data.clips[state.chosen.clip]?.seconds ?? 0);
    if (loaded === state.chosen.clip) current.currentTime = state.seconds;
    else state.sought = true;
    put();
  }

  function put() {
    const { seek: slider, clip } = state.chosen;
    slider.value = state.seconds;
    const length = data.clips[clip]?.seconds ?? 0;
    slider.setAttribute("aria-valuetext", `${state.seconds.toFixed(2)} of ${length.toFixed(2)} seconds`);
  }

  function follow() {
    if (!state.playing) return;
    if (!current.paused && !current.seeking && !state.sought) { state.seconds = current.currentTime; put(); }
    requestAnimationFrame(follow);
  }

  for (const player of players) player.addEventListener("ended", () => {
    if (player !== current || !state.playing) return;
    state.seconds = 0;
    const following = element("then").value === "next" ? neighbourOf(state.chosen, 1) : null;
    if (following) { choose(following); hear(); } else { pause(); put(); }
  });

  // ---- Choosing.

  const first = (card) => (state.chosen?.card === card ? state.chosen : card.panes[0]);

  function choose(pane, reveal = true) {
    if (!pane) return;
    if (pane !== state.chosen) {
      if (state.chosen && state.chosen.role === "sample") state.before = state.chosen;
      state.chosen?.figure.classList.remove("chosen");
      state.chosen = pane;
      pane.figure.classList.add("chosen");
      put();
      if (reveal) pane.figure.scrollIntoView({ block: "nearest" });
    }
    hear();
  }

  function neighbourOf(pane, by) {
    const index = cards.indexOf(pane.card) + by;
    if (!cards[index]) return null;
    return cards[index].panes.find(({ role, run }) => role === pane.role && run === pane.run) ?? cards[index].panes[0];
  }

  // To the sound of a role that belongs to what is chosen; from there, back.
  function compare(role) {
    const { chosen } = state;
    if (chosen.role === role) return choose(state.before ?? cards.find((card) => card.kind === "samples")?.panes[0]);
    const kind = role === "neighbour" ? "samples" : "references";
    const candidates = cards.filter((card) => card.kind === kind && card.panes.some((pane) => pane.role === role));
    if (!candidates.length) return undefined;
    const card = candidates.find((each) => each.index === chosen.card.index) ?? candidates[chosen.card.index % candidates.length];
    const found = card.panes.filter((pane) => pane.role === role);
    return choose(found.find((pane) => pane.run === chosen.run) ?? found[0]);
  }

  function nextRun() {
    const { chosen } = state, same = chosen.card.panes.filter((pane) => pane.role === chosen.role);
    choose(same[(same.indexOf(chosen) + 1) % same.length]);
  }

  function toggle() {
    if (state.playing) pause();
    else play();
  }

  function match() {
    if (loaded !== null) current.volume = level(loaded);
  }

  // ---- Controls and keys.

  element("play").addEventListener("click", toggle);
  element("earlier").addEventListener("click", () => move(state.position - 1));
  element("later").addEventListener("click", () => move(state.position + 1));
  element("epoch").addEventListener("input", () => move(element("epoch").valueAsNumber));
  element("match").addEventListener("change", match);
  element("then").addEventListener("change", () => { for (const player of players) player.loop = element("then").value === "repeat"; });
  element("help").addEventListener("click", () => element("keys").showModal());
  element("align").addEventListener("change", () => {
    const share = state.position / Math.max(1, positions.length - 1);
    place(element("align").value);
    move(Math.round(share * (positions.length - 1)));
  });
  // After a mouse the arrow keys should be those of the page again.
  document.addEventListener("pointerup", ({ target }) => { if (target.matches("input[type=range], button")) setTimeout(() => target.blur()); });

  function cycle(select) {
    select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
    select.dispatchEvent(new Event("change"));
  }

  const seconds = () => data.clips[state.chosen.clip]?.seconds ?? 0;
  const KEYS = {
    " ": toggle,
    ArrowUp: () => choose(neighbourOf(state.chosen, -1)),
    k: () => choose(neighbourOf(state.chosen, -1)),
    ArrowDown: () => choose(neighbourOf(state.chosen, 1)),
    j: () => choose(neighbourOf(state.chosen, 1)),
    ArrowLeft: () => move(state.position - 1),
    ArrowRight: () => move(state.position + 1),
    Home: () => move(0),
    End: () => move(positions.length - 1),
    r: () => compare("real"),
    i: () => compare("inverted"),
    n: () => compare("neighbour"),
    x: nextRun,
    ",": () => seek(state.seconds - seconds() / 20),
    ".": () => seek(state.seconds + seconds() / 20),
    l: () => cycle(element("then")),
    m: () => element("match").click(),
    "?": () => element("keys").showModal(),
  };
  const samples = () => cards.filter((card) => card.kind === "samples");
  for (let number = 1; number <= 9; number += 1) KEYS[number] = () => choose(samples()[number - 1]?.panes[0]);

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || element("keys").open || !Object.hasOwn(KEYS, key)) return;
    if (key.length === 1 && key !== " " && !element("shortcuts").checked) return;
    if (target.matches("select") || (key === " " && target.matches("button, input[type=checkbox]"))) return;
    if (key.length > 1 && target.matches("input[type=range]")) return;
    event.preventDefault();
    KEYS[key]();
  });

  // ---- Start.

  build("references");
  build("samples");
  place("batches");
  element("align-label").hidden = element("next-run").hidden = !several;
  element("curves").hidden = !chartFigures.length;
  for (const section of document.querySelectorAll("main > section")) if (section.querySelector(".cards:empty")) section.hidden = true;
  // Phones of one maker leave the level to their owner.
  players[0].volume = 0.5;
  if (players[0].volume !== 0.5) {
    element("match").disabled = true;
    element("match-label").title = "this browser does not let a page set its level";
  }
  players[0].volume = 1;
  state.position = positions.length - 1;
  choose((samples()[0] ?? cards[0]).panes[0], false);
  draw();
}
