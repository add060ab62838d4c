"use strict";
// Replays a story (lab/animate/story.py): a state that events are applied to, and four drawings of it.
(() => {
  const story = JSON.parse(document.getElementById("story").textContent);
  const { actors, events, pieces, seconds } = story;
  const NONE = 0, HELD = 1, FROM_ORIGIN = 2, FROM_PEER = 3, BAD = 4;
  const STEPS = 1000; // of the scrub bar
  const SHOW_S = 24; // how long the whole takes at speed 1, if it can
  const FRESH_S = 0.45, FLIGHT_S = 0.9; // in the watcher's seconds
  const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 10];
  const $ = (id) => document.getElementById(id);
  const leechers = actors.map((a, n) => n).filter((n) => !actors[n].origin);
  const onlyOrigin = actors.filter((a) => a.origin).length === 1 && actors[0].origin;

  // On a ring of many peers, or a narrow one, there is no room for what all their names begin with.
  const prefix = leechers.every((n) => actors[n].name.startsWith("peer-")) ? "peer-".length : 0;
  const short = (n, width) => {
    const { name, origin } = actors[n];
    return origin || (leechers.length <= 20 && width > 440) ? name : name.slice(prefix);
  };

  // --- state at a moment

  const cells = actors.map(() => new Uint8Array(pieces));
  const times = actors.map(() => new Float32Array(pieces));
  let count, fromOrigin, fromPeers, sent, links, carried, copies, next, now = -1, here;

  const pair = (a, b) => a * actors.length + b;

  function reset() {
    cells.forEach((row) => row.fill(NONE));
    times.forEach((row) => row.fill(-1e9));
    count = actors.map(() => 0);
    fromOrigin = actors.map(() => 0);
    fromPeers = actors.map(() => 0);
    sent = actors.map(() => 0);
    here = actors.map((a) => !a.traced);
    copies = new Int32Array(pieces); // among those that began without
    links = new Map();
    carried = new Map(); // pieces, by pair(from, to)
    next = 0;
    now = -1;
  }

  function take(to, piece, what) {
    if (cells[to][piece] === NONE || cells[to][piece] === BAD) {
      count[to] += 1;
      if (!actors[to].origin) copies[piece] += 1;
    }
    cells[to][piece] = what;
  }

  function drop(peer) {
    for (let p = 0; p < pieces; p++) {
      if (cells[peer][p] !== NONE && cells[peer][p] !== BAD && !actors[peer].origin) copies[p] -= 1;
    }
    cells[peer].fill(NONE);
    times[peer].fill(-1e9);
    count[peer] = 0;
  }

  const happen = {
    g(t, to, from, piece) {
      take(to, piece, actors[from].origin ? FROM_ORIGIN : FROM_PEER);
      times[to][piece] = t;
      (actors[from].origin ? fromOrigin : fromPeers)[to] += 1;
      sent[from] += 1;
      carried.set(pair(from, to), (carried.get(pair(from, to)) || 0) + 1);
    },
    b(t, to, from, piece) {
      if (cells[to][piece] === NONE) cells[to][piece] = BAD;
      times[to][piece] = t;
    },
    h(t, peer, held) {
      drop(peer);
      here[peer] = true;
      if (held === null) for (let p = 0; p < pieces; p++) take(peer, p, HELD);
      else held.forEach((p) => take(peer, p, HELD));
    },
    c(t, a, b) { links.set(pair(a, b), true); },
    d(t, a, b) { links.delete(pair(a, b)); },
  };

  function moveTo(t) {
    t = Math.min(Math.max(t, 0), seconds);
    if (t < now) reset();
    now = t;
    while (next < events.length && events[next][0] <= t) {
      const [at, kind, ...rest] = events[next++];
      happen[kind](at, ...rest);
    }
  }

  // --- what does not change: curves, and when each piece set out

  const flights = []; // {from, to, left, came}, in order of arrival
  const curves = { t: [], all: [], origin: [], rarest: [] };

  function prepare() {
    const before = new Map();
    reset();
    let all = 0, byOrigin = 0, mark = 0;
    const points = 400;
    for (let k = 0; k <= points; k++) {
      const t = (k / points) * seconds;
      for (; mark < events.length && events[mark][0] <= t; mark++) {
        const [at, kind, to, from] = events[mark];
        if (kind !== "g") continue;
        const line = pair(from, to);
        const left = Math.max(before.get(line) ?? at - seconds / 20, at - seconds / 20);
        before.set(line, at);
        flights.push({ from, to, left, came: at });
        if (!actors[to].origin) { all += 1; if (actors[from].origin) byOrigin += 1; }
      }
      moveTo(t);
      const whole = Math.max(1, pieces * leechers.length);
      const have = leechers.reduce((sum, n) => sum + count[n], 0);
      let rarest = Infinity;
      for (let p = 0; p < pieces; p++) if (copies[p] < rarest) rarest = copies[p];
      curves.t.push(t);
      curves.all.push(have / whole);
      curves.origin.push(byOrigin / whole);
      curves.rarest.push(rarest / Math.max(1, leechers.length));
    }
    reset();
  }

  // --- drawing

  const colours = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["page", "ink", "muted", "line", "origin", "peer", "fresh", "held", "empty", "bad", "rare"])
      colours[name] = style.getPropertyValue(`--${name}`).trim();
  }

  function context(canvas) {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const draw = canvas.getContext("2d");
    draw.setTransform(scale, 0, 0, scale, 0, 0);
    draw.clearRect(0, 0, width, height);
    return { draw, width, height };
  }

  const rate = () => (seconds / Math.min(SHOW_S, Math.max(seconds, 6))) * SPEEDS[$("speed").selectedIndex];

  function cellColour(peer, piece, fresh) {
    const kind = cells[peer][piece];
    if (now - times[peer][piece] < fresh && kind !== BAD && kind !== NONE) return colours.fresh;
    return [colours.empty, colours.held, colours.origin, colours.peer, colours.bad][kind];
  }

  function drawRow(canvas, colourOf) {
    const { draw, width, height } = context(canvas);
    const step = width / pieces, gap = step > 4 ? 1 : 0;
    if (step >= 1) {
      for (let p = 0; p < pieces; p++) {
        draw.fillStyle = colourOf(p);
        draw.fillRect(p * step, 0, step - gap, height);
      }
      return;
    }
    for (let x = 0; x < width; x++) { // more pieces than pixels: the middle one stands for its neighbours
      draw.fillStyle = colourOf(Math.min(pieces - 1, Math.floor((x + 0.5) / step)));
      draw.fillRect(x, 0, 1, height);
    }
  }

  let chosen = -1;
  const places = [];

  function placeAll(width, height) {
    const radius = Math.min(width, height) / 2 - 34;
    const around = actors.map((a, n) => n).filter((n) => !(onlyOrigin && n === 0));
    if (onlyOrigin) places[0] = { x: width / 2, y: height / 2, angle: -Math.PI / 2 };
    around.forEach((n, k) => {
      const angle = (2 * Math.PI * k) / around.length - Math.PI / 2;
      places[n] = { x: width / 2 + radius * Math.cos(angle), y: height / 2 + radius * Math.sin(angle), angle };
    });
  }

  function bend(from, to, width, height) { // lines between peers pass beside the origin
    const a = places[from], b = places[to];
    if (onlyOrigin && (from === 0 || to === 0)) return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    const mx = (a.x + b.x) / 2, my = (a.y + b.y) / 2;
    const dx = b.y - a.y, dy = a.x - b.x, reach = Math.hypot(dx, dy) || 1; // right of the direction of travel
    const push = 0.1 * reach + 6;
    return { x: mx + 0.18 * (width / 2 - mx) + (dx / reach) * push,
             y: my + 0.18 * (height / 2 - my) + (dy / reach) * push };
  }

  function drawRing() {
    const { draw, width, height } = context($("ring"));
    placeAll(width, height);
    const shown = (a, b) => chosen < 0 || a === chosen || b === chosen;
    const most = Math.max(1, ...carried.values());
    draw.lineWidth = 1;
    draw.strokeStyle = colours.line;
    for (const key of links.keys()) {
      const a = Math.floor(key / actors.length), b = key % actors.length;
      if (!shown(a, b)) continue;
      draw.beginPath();
      draw.moveTo(places[a].x, places[a].y);
      draw.lineTo(places[b].x, places[b].y);
      draw.stroke();
    }
    for (const [key, amount] of carried) {
      const from = Math.floor(key / actors.length), to = key % actors.length;
      if (!shown(from, to)) continue;
      const via = bend(from, to, width, height);
      draw.strokeStyle = actors[from].origin ? colours.origin : colours.peer;
      draw.globalAlpha = 0.1 + 0.35 * (amount / most);
      draw.lineWidth = 0.5 + 4.5 * (amount / most);
      draw.beginPath();
      draw.moveTo(places[from].x, places[from].y);
      draw.quadraticCurveTo(via.x, via.y, places[to].x, places[to].y);
      draw.stroke();
    }
    draw.globalAlpha = 1;
    drawFlights(draw, width, height, shown);
    actors.forEach((_, n) => drawDisc(draw, n, width, height));
  }

  function drawFlights(draw, width, height, shown) {
    const longest = FLIGHT_S * rate();
    let low = 0, high = flights.length; // the first that has not arrived yet
    while (low < high) {
      const middle = (low + high) >> 1;
      if (flights[middle].came <= now) low = middle + 1; else high = middle;
    }
    for (let k = low; k < flights.length; k++) {
      const { from, to, left, came } = flights[k];
      if (came - now > longest) break;
      const start = Math.max(left, came - longest);
      if (start > now || !shown(from, to)) continue;
      const s = (now - start) / Math.max(1e-9, came - start), r = 1 - s;
      const a = places[from], b = places[to], via = bend(from, to, width, height);
      draw.fillStyle = actors[from].origin ? colours.origin : colours.peer;
      draw.beginPath();
      draw.arc(r * r * a.x + 2 * r * s * via.x + s * s * b.x, r * r * a.y + 2 * r * s * via.y + s * s * b.y,
               3.6, 0, 2 * Math.PI);
      draw.fill();
    }
  }

  function connected(n) {
    if (!here[n]) return false;
    for (const key of links.keys())
      if (Math.floor(key / actors.length) === n || key % actors.length === n) return true;
    return links.size === 0 && count[n] > 0 && next > 0 && !events.some((e) => e[1] === "c");
  }

  function drawDisc(draw, n, width, height) {
    const { x, y, angle } = places[n];
    const radius = actors.length > 40 ? 7 : 12, middle = onlyOrigin && n === 0;
    const size = middle ? 18 : radius;
    draw.beginPath();
    draw.arc(x, y, size, 0, 2 * Math.PI);
    draw.fillStyle = colours.page;
    draw.fill();
    const full = count[n] / pieces;
    const hue = actors[n].origin ? colours.origin : colours.peer;
    if (full > 0) {
      draw.beginPath();
      draw.moveTo(x, y);
      draw.arc(x, y, size - 2, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * full);
      draw.closePath();
      draw.fillStyle = hue;
      draw.fill();
    }
    draw.beginPath();
    draw.arc(x, y, size, 0, 2 * Math.PI);
    draw.setLineDash(connected(n) ? [] : [3, 3]);
    draw.lineWidth = chosen === n ? 3.5 : 1.5;
    draw.strokeStyle = chosen === n ? colours.ink : hue;
    draw.stroke();
    draw.setLineDash([]);
    if (actors.length > 60 && !actors[n].origin && n !== chosen) return;
    draw.fillStyle = colours.ink;
    draw.font = `${middle ? "600 " : ""}12px system-ui, sans-serif`;
    draw.textBaseline = "middle";
    if (middle) {
      draw.textAlign = "center";
      draw.lineWidth = 4;
      draw.strokeStyle = colours.page;
      draw.strokeText(actors[n].name, x, y + size + 10);
      draw.fillText(actors[n].name, x, y + size + 10);
      return;
    }
    const away = size + 5, across = Math.cos(angle);
    draw.textAlign = Math.abs(across) < 0.25 ? "center" : across > 0 ? "left" : "right";
    draw.fillText(short(n, width), x + away * across, y + (away + 3) * Math.sin(angle));
  }

  function drawChart() {
    const { draw, width, height } = context($("chart"));
    const left = 44, right = width - 14, top = 12, bottom = height - 34;
    const X = (t) => left + ((right - left) * t) / seconds, Y = (share) => bottom - (bottom - top) * share;
    draw.font = "12px system-ui, sans-serif";
    draw.fillStyle = colours.muted;
    draw.strokeStyle = colours.line;
    draw.lineWidth = 1;
    draw.textAlign = "right";
    draw.textBaseline = "middle";
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      draw.fillText(`${100 * share} %`, left - 7, Y(share));
      draw.beginPath();
      draw.moveTo(left, Y(share));
      draw.lineTo(right, Y(share));
      draw.stroke();
    }
    draw.textAlign = "center";
    draw.textBaseline = "top";
    for (const t of ticks()) draw.fillText(`${t} s`, X(t), bottom + 7);
    if (story.bound_s && story.bound_s < seconds) {
      draw.setLineDash([6, 4]);
      draw.strokeStyle = colours.muted;
      draw.lineWidth = 1.6;
      draw.beginPath();
      draw.moveTo(X(story.bound_s), top);
      draw.lineTo(X(story.bound_s), bottom);
      draw.stroke();
      draw.setLineDash([]);
      draw.textAlign = "right";
      draw.fillText("bound", X(story.bound_s) - 5, bottom - 18);
    }
    for (const [name, colour] of [["rarest", colours.rare], ["origin", colours.origin], ["all", colours.peer]]) {
      for (const [alpha, until] of [[0.28, Infinity], [1, now]]) { // faint what is to come
        draw.globalAlpha = alpha;
        draw.strokeStyle = colour;
        draw.lineWidth = 2.2;
        draw.beginPath();
        curves.t.forEach((t, k) => {
          if (t > until) return;
          if (k) draw.lineTo(X(t), Y(curves[name][k])); else draw.moveTo(X(t), Y(curves[name][k]));
        });
        draw.stroke();
      }
    }
    draw.globalAlpha = 1;
    draw.strokeStyle = colours.ink;
    draw.lineWidth = 1.4;
    draw.beginPath();
    draw.moveTo(X(now), top);
    draw.lineTo(X(now), bottom);
    draw.stroke();
  }

  function ticks() {
    const rough = seconds / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let k = 0; k * step <= seconds; k++) found.push(+(k * step).toPrecision(6));
    return found;
  }

  // --- rows

  const rows = [];

  function makeRows() {
    const box = $("rows");
    if (actors.length > 40) box.classList.add("many");
    const add = (name, press) => {
      const row = document.createElement("div");
      row.className = press ? "row" : "row heading";
      const label = document.createElement(press ? "button" : "span");
      label.textContent = name;
      label.title = name;
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      const figures = document.createElement("span");
      figures.className = "figures";
      row.append(label, canvas, figures);
      box.append(row);
      return { label, canvas, figures };
    };
    rows.copies = add("copies of each", false);
    actors.forEach((actor, n) => {
      const row = add(actor.name, true);
      row.label.type = "button";
      row.label.setAttribute("aria-pressed", "false");
      if (actor.origin) row.label.classList.add("is-origin");
      row.label.addEventListener("click", () => choose(chosen === n ? -1 : n));
      rows.push(row);
    });
  }

  function choose(n) {
    chosen = n;
    rows.forEach((row, k) => row.label.setAttribute("aria-pressed", String(k === n)));
    paint();
  }

  function percent(part, whole) { return `${Math.round((100 * part) / Math.max(1, whole))} %`; }

  function drawRows() {
    const fresh = FRESH_S * rate();
    rows.forEach((row, n) => {
      drawRow(row.canvas, (p) => cellColour(n, p, fresh));
      const got = fromOrigin[n] + fromPeers[n];
      let text = `${count[n]} of ${pieces}`;
      if (actors[n].origin) text = `sent ${(sent[n] / pieces).toFixed(2)} copies`;
      else if (!here[n]) text = "not here yet";
      else {
        const done = actors[n].done !== null && actors[n].done <= now && count[n] === pieces;
        text = done ? `done at ${actors[n].done.toFixed(1)} s` : text;
        if (got) text += ` · ${percent(fromOrigin[n], got)} from origin`;
      }
      row.figures.textContent = text;
      row.figures.classList.toggle("done", count[n] === pieces);
      row.canvas.setAttribute("aria-label", `${actors[n].name}: ${count[n]} of ${pieces} pieces`);
    });
    let rarest = Infinity;
    for (let p = 0; p < pieces; p++) rarest = Math.min(rarest, copies[p]);
    const { canvas, figures } = rows.copies;
    drawRow(canvas, () => colours.empty);
    const draw = canvas.getContext("2d"), width = canvas.clientWidth, height = canvas.clientHeight;
    const step = width / pieces;
    draw.fillStyle = colours.rare;
    for (let p = 0; p < pieces; p++) {
      const tall = (height * copies[p]) / Math.max(1, leechers.length);
      draw.fillRect(p * step, height - tall, Math.max(1, step - (step > 4 ? 1 : 0)), tall);
    }
    figures.textContent = `rarest: ${rarest} of ${leechers.length} peers`;
    canvas.setAttribute("aria-label", figures.textContent);
  }

  // --- one picture

  function say() {
    const have = leechers.reduce((sum, n) => sum + count[n], 0);
    const done = leechers.filter((n) => count[n] === pieces).length;
    const byOrigin = fromOrigin.reduce((a, b) => a + b, 0), byPeers = fromPeers.reduce((a, b) => a + b, 0);
    $("clock").textContent = `${now.toFixed(1)} of ${seconds.toFixed(1)} s`;
    $("now").textContent =
      `${percent(have, pieces * leechers.length)} of all pieces are there, ${done} of ${leechers.length} peers are ` +
      `complete; the origin has sent ${(byOrigin / pieces).toFixed(2)} copies, ` +
      `${percent(byOrigin, byOrigin + byPeers)} of what was sent.`;
    const scrub = $("scrub");
    scrub.setAttribute("aria-valuetext", $("clock").textContent);
    if (document.activeElement !== scrub || playing) scrub.value = String(Math.round((STEPS * now) / seconds));
    document.body.dataset.time = String(now);
    document.body.dataset.have = String(have);
    document.body.dataset.done = String(done);
    document.body.dataset.playing = String(playing);
  }

  function paint() { drawRows(); drawRing(); drawChart(); say(); }

  // --- playing

  let playing = false, clock = 0;

  function play(on) {
    playing = on;
    if (on && now >= seconds) moveTo(0);
    $("play").textContent = on ? "Pause" : "Play";
    clock = performance.now();
    if (on) requestAnimationFrame(frame);
    paint();
  }

  function frame(at) {
    if (!playing) return;
    moveTo(now + (Math.max(0, at - clock) / 1000) * rate());
    clock = at;
    if (now >= seconds) { play(false); return; }
    paint();
    requestAnimationFrame(frame);
  }

  function go(t) { moveTo(t); paint(); }

  function faster(by) {
    const speed = $("speed");
    speed.selectedIndex = Math.min(SPEEDS.length - 1, Math.max(0, speed.selectedIndex + by));
    paint();
  }

  function listen() {
    $("play").addEventListener("click", () => play(!playing));
    $("scrub").addEventListener("input", (event) => go((seconds * event.target.value) / STEPS));
    $("speed").addEventListener("change", paint);
    $("chart").addEventListener("click", (event) => {
      const box = $("chart").getBoundingClientRect();
      go((seconds * (event.clientX - box.left - 44)) / (box.width - 58));
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
      const step = (seconds / 100) * (event.shiftKey ? 10 : 1);
      const keys = {
        " ": () => play(!playing), ArrowLeft: () => go(now - step), ArrowRight: () => go(now + step),
        Home: () => go(0), End: () => go(seconds), "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1),
        Escape: () => choose(-1),
      };
      if (event.key === " " && event.target.tagName === "BUTTON" && event.target.id !== "play") return;
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
    new ResizeObserver(paint).observe(document.body);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); paint(); });
    window.addEventListener("hashchange", fromAddress);
  }

  function fromAddress() {
    const match = /[#&]t=([0-9.]+)/.exec(location.hash);
    if (match) go(parseFloat(match[1]));
    return Boolean(match);
  }

  SPEEDS.forEach((speed) => $("speed").add(new Option(`${speed} ×`)));
  $("speed").selectedIndex = SPEEDS.indexOf(1);
  readColours();
  prepare();
  makeRows();
  moveTo(0);
  listen();
  paint();
  // Whoever asked for less motion, or for a moment of it, begins with a picture that stands still.
  if (!fromAddress() && !matchMedia("(prefers-reduced-motion: reduce)").matches) play(true);
})();
