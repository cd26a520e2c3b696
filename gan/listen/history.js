"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const several = data.runs.length > 1;
  const SAYS = { real: "real", inverted: "inverted", sample: "generated", neighbour: "nearest training crop" };
  const state = { position: 0, playing: false, seconds: 0, sought: false, chosen: null, before: null };

  // ---- Files: in elements of this page or, of a page that keeps them beside it, in scripts of an epoch's sounds each
  // (a page from disk may run a script that lies beside it, and not read a file) and pictures at their own places.

  const texts = new Map();
  const scripts = new Map();
  const parsed = new Promise((resolve) => {
    if (document.readyState !== "loading") resolve();
    else document.addEventListener("DOMContentLoaded", resolve);
  });

  globalThis.heard = (sounds) => { for (const [name, text] of Object.entries(sounds)) texts.set(name, text); };

  function run(script) {
    if (!scripts.has(script)) {
      scripts.set(script, new Promise((resolve, reject) => {
        const made = document.createElement("script");
        made.addEventListener("load", resolve);
        made.addEventListener("error", () => { scripts.delete(script); reject(new Error(`${script} is not there`)); });
        made.src = script;
        document.head.append(made);
      }));
    }
    return scripts.get(script);
  }

  async function base64(name, script) {
    if (script && !texts.has(name)) await run(script);
    // The last epochs lie first in the page, and can be heard while the others are still being read.
    else if (!script && !element(name)) await parsed;
    return texts.get(name) ?? element(name).textContent;
  }

  async function bytes(name, script) {
    const letters = atob(await base64(name, script)), content = new Uint8Array(letters.length);
    for (let index = 0; index < letters.length; index += 1) content[index] = letters.charCodeAt(index);
    return content;
  }

  async function addressOf({ picture, script }) {
    return script ? picture : `data:image/jpeg;base64,${await base64(picture)}`;
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
      const quieter = clip === null ? undefined : data.clips[clip].quieter;
      const lost = quieter ? `, made ${quieter} dB quieter so that it does not clip` : "";
      pane.when.textContent = clip === null ? `nothing of epoch ${epoch} was kept` : `${pane.role === "neighbour" ? "of " : ""}epoch ${epoch}${lost}`;
    }
    pane.seek.setAttribute("aria-label", `Place in ${title(pane)}`);
    if (clip === pane.clip) return;
    pane.clip = clip;
    pane.figure.classList.toggle("nothing", clip === null);
    pane.button.disabled = pane.seek.disabled = clip === null;
    if (clip === null) { pane.wave.setAttribute("d", ""); return; }
    const { outline } = data.clips[clip];
    const levels = Array.from(atob(outline), (letter) => letter.charCodeAt(0) / data.loudest);
    const at = (index) => ((index + 0.5) * 200) / levels.length;
    const edge = (sign) => levels.map((level, index) => `${at(index).toFixed(1)} ${(sign * 0.92 * level).toFixed(3)}`);
    pane.wave.setAttribute("d", `M${edge(-1).join("L")}L${edge(1).reverse().join("L")}Z`);
    addressOf(data.clips[clip]).then((url) => {
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
        output.textContent = point ? `${point[1]}${spread}` : "-";
      });
    });
  }

  chartFigures.forEach((figure) => figure.querySelector("svg").addEventListener("click", ({ clientX, currentTarget }) => {
    const { left, right, width, batches: [from, to] } = data.chart, box = currentTarget.getBoundingClientRect();
    const batch = from + ((((clientX - box.left) / box.width) * width - left) / (right - left)) * (to - from);
    const far = (position) => Math.abs(Math.max(...data.runs.map((run, index) => run.moments[positions[position][index]][1])) - batch);
    move(positions.reduce((best, _, index) => (far(index) < far(best) ? index : best), 0));
  }));

  // ---- Sound. Each is decoded whole: there are browsers whose own players cannot seek in a short FLAC file. What
  // follows fades in where what sounded fades out, at the same place.

  const MOST_SECONDS = 900;
  const FADE_SECONDS = 0.01;
  const decoded = new Map();
  let context = null;
  let voice = null;
  let wanted = null;
  let asked = 0;

  function decode(clip) {
    const { rate, sound, script } = data.clips[clip];
    const offline = () => new OfflineAudioContext(1, 1, Math.min(Math.max(rate, 8000), 96000));
    const buffer = decoded.get(clip) ?? bytes(sound, script).then((content) => offline().decodeAudioData(content.buffer));
    // What was needed last is last; what was needed first is forgotten first.
    decoded.delete(clip);
    decoded.set(clip, buffer);
    buffer.catch(() => decoded.delete(clip));
    let kept = 0;
    for (const each of [...decoded.keys()].reverse()) {
      kept += data.clips[each].seconds;
      if (kept > MOST_SECONDS && each !== clip) decoded.delete(each);
    }
    return buffer;
  }

  const level = (clip) => (element("match").checked ? 10 ** (data.clips[clip].gain / 20) : 1);
  const repeats = () => element("then").value === "repeat";

  function position() {
    if (!voice) return state.seconds;
    const gone = Math.max(0, context.currentTime - voice.from);
    return voice.source.loop ? gone % voice.length : Math.min(gone, voice.length);
  }

  function begin(clip, buffer) {
    const now = context.currentTime, source = context.createBufferSource(), gain = context.createGain();
    let at = state.sought ? state.seconds : position();
    if (at >= buffer.duration) at = 0;
    silence();
    source.buffer = buffer;
    source.loop = repeats();
    gain.gain.setValueAtTime(0, now);
    gain.gain.linearRampToValueAtTime(level(clip), now + FADE_SECONDS);
    source.connect(gain).connect(context.destination);
    source.start(now, at);
    const own = { clip, source, gain, from: now - at, length: buffer.duration };
    source.addEventListener("ended", () => { if (voice === own) { voice = null; ended(); } });
    voice = own;
    state.sought = false;
  }

  function silence() {
    if (!voice) return;
    const now = context.currentTime, { gain: { gain }, source } = voice;
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(0, now + FADE_SECONDS);
    source.stop(now + FADE_SECONDS);
    voice = null;
  }

  async function hear(anew = false) {
    const { chosen } = state, clip = chosen?.clip ?? null;
    tell();
    if (clip === wanted && !anew) return;
    wanted = clip;
    asked += 1;
    const own = asked;
    if (clip === null) { if (voice) { state.seconds = position(); state.sought = true; silence(); } return; }
    try {
      const buffer = await decode(clip);
      // Only what was asked for last is heard.
      if (own === asked && state.playing) begin(clip, buffer);
    } catch (error) {
      if (own === asked) { wanted = null; pause(); tell(`this browser cannot play it: ${error.message}`); }
    }
  }

  function tell(trouble) {
    const { chosen } = state;
    const now = trouble ?? (chosen ? title(chosen) : "");
    if (element("now").textContent !== now) element("now").textContent = now;
    element("play").classList.toggle("playing", state.playing);
    element("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
    for (const pane of panes) {
      const sounds = pane === chosen && state.playing;
      pane.button.classList.toggle("playing", sounds);
      pane.button.setAttribute("aria-label", `${sounds ? "Pause" : "Play"} ${title(pane)}`);
    }
  }

  function again() {
    state.sought = true;
    hear(true);
  }

  function play() {
    if (!context) {
      // Heard on a phone that is switched to silent, as a video would be.
      if (navigator.audioSession) navigator.audioSession.type = "playback";
      context = new AudioContext();
    }
    if (context.state !== "running") context.resume();
    if (!state.playing) requestAnimationFrame(follow);
    state.playing = true;
    again();
  }

  function pause() {
    state.seconds = position();
    state.playing = false;
    silence();
    put();
    tell();
  }

  function seek(seconds) {
    state.seconds = Math.min(Math.max(seconds, 0), data.clips[state.chosen.clip]?.seconds ?? 0);
    state.sought = true;
    if (state.playing) again();
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
    if (voice && !state.sought) { state.seconds = position(); put(); }
    requestAnimationFrame(follow);
  }

  function ended() {
    if (!state.playing) return;
    const following = element("then").value === "next" ? neighbourOf(state.chosen, 1) : null;
    state.seconds = 0;
    state.sought = true;
    if (following) { choose(following); again(); } else pause();
  }

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
    voice?.gain.gain.setTargetAtTime(level(voice.clip), context.currentTime, FADE_SECONDS);
  }

  // ---- Controls and keys.

  element("play").addEventListener("click", toggle);
  element("earlier").addEventListener("click", () => move(state.position - 1));
  element("later").addEventListener("click", () => move(state.position + 1));
  element("epoch").addEventListener("input", () => move(element("epoch").valueAsNumber));
  element("match").addEventListener("change", match);
  element("then").addEventListener("change", () => { if (voice) voice.source.loop = repeats(); });
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
    if (key !== "?" && !element("shortcuts").checked) return;
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
  state.position = positions.length - 1;
  choose((samples()[0] ?? cards[0]).panes[0], false);
  draw();
}
