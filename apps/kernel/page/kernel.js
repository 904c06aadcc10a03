"use strict";
// Plays the recording of one block. Data: page.cpp.
const data = JSON.parse(document.getElementById("recording").textContent);
const $ = (id) => document.getElementById(id);
const { instructions, events, files } = data;
const kColors = {
  "ld.global": "#0072b2", "st.global": "#d55e00", "ld.shared": "#56b4e9", "st.shared": "#e69f00", "ld.local": "#7a3e9d",
  "st.local": "#7a3e9d", "atomic": "#b0548a", "cp.async": "#00835f", "matrix": "#c03030", "shuffle": "#8a8f94", "barrier": "#1d2329",
};
const isBarrier = (event) => /^(bar\.(sync|red)|barrier\.)/.test(instructions[event.i].name);
const isFinding = (event) => (event.waves || 0) > (event.fewest || 0) || (event.sectors || 0) >= 2 * (event.least || Infinity);
const warps = data.block_size[0] * data.block_size[1] * data.block_size[2];
const warpCount = Math.ceil(warps / 32);
let now = 0, only = -1, timer = 0;

// [start, step, count, ...] -> an address for each of the lanes that take part.
function addresses(runs, lanes) {
  const list = [];
  for (let r = 0; r < runs.length; r += 3)
    for (let k = 0; k < runs[r + 2]; ++k) list.push(runs[r] + k * runs[r + 1]);
  const byLane = new Array(32).fill(null);
  for (let lane = 0, next = 0; lane < 32; ++lane)
    if (lanes >>> lane & 1) byLane[lane] = list[next++];
  return byLane;
}
const activeLanes = (event) => event.l === undefined ? 0xffffffff : event.l;
const globalAddresses = (event) => addresses(event.g, event.gl === undefined ? activeLanes(event) : event.gl);
const sharedAddresses = (event) => addresses(event.s, event.sl === undefined ? activeLanes(event) : event.sl);
const stores = (event) => {
  const kind = instructions[event.i].class;
  return kind.startsWith("st.") || kind === "atomic" || kind === "cp.async";
};

function text(parent, tag, content, name) {
  const element = document.createElement(tag);
  element.textContent = content;
  if (name) element.className = name;
  parent.append(element);
  return element;
}
const bytesText = (n) => n.toLocaleString("en-US") + (n === 1 ? " byte" : " bytes");
const count = (n, one) => n.toLocaleString("en-US") + " " + one + (n === 1 ? "" : "s");
const placeOf = (instruction) => instruction.file < 0 ? "no source line" : files[instruction.file].name + ":" + instruction.line;

const calledAt = (instruction) => instruction.from < 0 ? "" : ", called at " + files[instruction.from].name + ":" + instruction.from_line;

function showHeader() {
  document.title = data.kernel;
  $("kernel").textContent = data.kernel;
  $("problem").textContent = data.problem + ", " + data.provider + " on " + data.device;
  const executed = instructions.reduce((sum, i) => sum + i.executed, 0);
  const facts = [
    ["grid", data.grid.join(" x ") + " blocks"], ["block", data.block_size.join(" x ") + " threads, " + count(warpCount, "warp")],
    ["recorded", "block (" + data.block.join(", ") + ")"], ["PTX for", "sm_" + data.target],
    ["instructions", executed.toLocaleString("en-US") + " by warps of this block"],
    ["shared memory", bytesText(data.shared_bytes) + " a block"],
  ];
  if (data.resources) {
    facts.push(["registers", data.resources.registers + " a thread" + (data.resources.spills ? ", " + bytesText(data.resources.spills) + " spilled" : "")]);
    facts.push(["occupancy", count(data.resources.resident, "block") + " a multiprocessor, " + Math.round(100 * data.resources.occupancy) + " % of its warps"]);
  }
  for (const [name, value] of facts) {
    const box = document.createElement("div");
    text(box, "dt", name);
    text(box, "dd", value);
    $("facts").append(box);
  }
  const notes = ["Steps are accesses to memory, barriers, copies, exchanges and matrix products, in the order of the machine that executed the PTX on a CPU: " +
    "one warp after the other until all wait at a barrier. A GPU interleaves the warps; what they read and write between two barriers is the same."];
  if (data.left_out > 0) notes.push("The first " + events.length.toLocaleString("en-US") + " steps are here; " + data.left_out.toLocaleString("en-US") + " more were left out (--steps). Counts beside the source are of the whole block.");
  if (!data.resources) notes.push("Registers and occupancy: kernels/resources.csv does not know this kernel for the card.");
  notes.push("Made by: " + data.command);
  $("notes").textContent = notes.join(" ");
}

// ---- source

let shownFile = -1;
const perLine = new Map();  // "file:line" -> {executed, sectors, least, waves, fewest, requests}
function countLines() {
  const at = (file, line) => {
    const key = file + ":" + line;
    if (!perLine.has(key)) perLine.set(key, { executed: 0, tags: [] });
    return perLine.get(key);
  };
  for (const i of instructions) {
    if (i.file >= 0) at(i.file, i.line).executed += i.executed;
    if (i.from >= 0 && (i.from !== i.file || i.from_line !== i.line)) at(i.from, i.from_line).called = (at(i.from, i.from_line).called || 0) + i.executed;
  }
}
function showFile(number) {
  if (number === shownFile) return;
  shownFile = number;
  const box = $("source");
  box.replaceChildren();
  if (number < 0) { $("file").textContent = "(the instruction has no source line)"; return; }
  const file = files[number];
  $("file").textContent = file.name;
  if (!file.lines) { text(box, "p", "The file is neither where the PTX says nor below --source; only line numbers are known.", "hint"); return; }
  const table = document.createElement("table");
  let most = 1;
  for (let l = 1; l <= file.lines.length; ++l) most = Math.max(most, (perLine.get(number + ":" + l) || { executed: 0 }).executed);
  file.lines.forEach((line, index) => {
    const row = document.createElement("tr");
    const counts = perLine.get(number + ":" + (index + 1));
    const cell = text(row, "td", counts && counts.executed ? counts.executed.toLocaleString("en-US") : "", "count");
    if (counts && counts.executed) {
      const bar = document.createElement("i");
      bar.style.width = 100 * counts.executed / most + "%";
      cell.append(bar);
      cell.title = counts.executed.toLocaleString("en-US") + " instructions by warps";
    }
    text(row, "td", index + 1, "number");
    const code = text(row, "td", line, "code");
    if (counts && counts.tags.length) {
      row.className = "finding";
      text(code, "span", counts.tags.join("; "), "tag");
    }
    table.append(row);
  });
  box.append(table);
}
function markLines(instruction) {
  showFile(instruction.file);
  const rows = $("source").querySelectorAll("tr");
  for (const row of $("source").querySelectorAll(".now, .from")) row.classList.remove("now", "from");
  const mark = (file, line, name) => { if (file === shownFile && rows[line - 1]) rows[line - 1].classList.add(name); };
  mark(instruction.from, instruction.from_line, "from");
  mark(instruction.file, instruction.line, "now");
  const row = rows[instruction.line - 1], box = $("source");
  if (row && (row.offsetTop < box.scrollTop + 40 || row.offsetTop > box.scrollTop + box.clientHeight - 60))
    box.scrollTop = row.offsetTop - box.clientHeight / 2;
}

// ---- findings

function findFindings() {
  const found = new Map();
  events.forEach((event, index) => {
    if (!isFinding(event)) return;
    const { name, file, line, from, from_line } = instructions[event.i];
    const key = [name, file, line, from, from_line].join();
    if (!found.has(key)) found.set(key, { index, instruction: instructions[event.i], requests: 0, waves: 0, fewest: 0, sectors: 0, least: 0 });
    const f = found.get(key);
    ++f.requests;
    for (const part of ["waves", "fewest", "sectors", "least"]) f[part] += event[part] || 0;
  });
  const body = $("findings").querySelector("tbody");
  const list = [...found.values()].sort((a, b) => b.waves + b.sectors - a.waves - a.sectors);
  for (const f of list) {
    const parts = [];
    if (f.waves > f.fewest) parts.push("bank conflicts: " + f.waves + " cycles where " + f.fewest + " are the fewest");
    if (f.sectors >= 2 * f.least && f.least > 0) parts.push("scattered: " + f.sectors + " sectors where " + f.least + " hold the bytes");
    const instruction = f.instruction;
    if (instruction.file >= 0) {
      const counts = perLine.get(instruction.file + ":" + instruction.line);
      const tag = f.waves > f.fewest ? (f.waves / f.fewest).toFixed(1) + "x cycles" : (f.sectors / f.least).toFixed(1) + "x sectors";
      if (!counts.tags.includes(tag)) counts.tags.push(tag);
    }
    const row = document.createElement("tr");
    text(row, "td", placeOf(instruction) + calledAt(instruction));
    text(row, "td", instruction.name);
    text(row, "td", f.requests.toLocaleString("en-US"), "number");
    text(row, "td", parts.join("; "));
    row.addEventListener("click", () => { go(f.index); window.scrollTo(0, 0); });
    body.append(row);
  }
  if (list.length === 0) text(text(body, "tr", ""), "td", "None.");
}

// ---- shared memory: who wrote each word last, as of a step

const words = Math.ceil(data.shared_bytes / 4);
const snapshots = [];  // every kEvery events: a copy of `owner`
const kEvery = 256;
let owner = new Int16Array(words).fill(-1), ownerAt = 0;
function sharedWords(event) {
  const list = [];
  if (event.s === undefined) return list;
  const at = sharedAddresses(event);
  for (let lane = 0; lane < 32; ++lane) {
    if (at[lane] === null) continue;
    for (let word = at[lane] >> 2; word <= (at[lane] + event.b - 1) >> 2; ++word) list.push([word, lane]);
  }
  return list;
}
function ownersBefore(step) {
  if (step < ownerAt) {
    const from = Math.floor(step / kEvery);
    owner = Int16Array.from(snapshots[from]);
    ownerAt = from * kEvery;
  }
  for (; ownerAt < step; ++ownerAt) {
    if (ownerAt % kEvery === 0 && snapshots.length === ownerAt / kEvery) snapshots.push(Int16Array.from(owner));
    const event = events[ownerAt];
    if (stores(event)) for (const [word] of sharedWords(event)) if (word < words) owner[word] = event.w;
  }
  if (ownerAt % kEvery === 0 && snapshots.length === ownerAt / kEvery) snapshots.push(Int16Array.from(owner));
  return owner;
}
const warpColor = (warp, alpha) => "hsla(" + (warp * 137.5) % 360 + ", 55%, 55%, " + alpha + ")";

function prepare(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 600;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = height + "px";
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width];
}
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawShared(event) {
  $("shared_size").textContent = data.shared_bytes === 0 ? "none" : bytesText(data.shared_bytes) + ", a row is 32 banks of 4 bytes";
  $("grid_box").hidden = $("banks").hidden = data.shared_bytes === 0;
  if (data.shared_bytes === 0) { $("shared_hint").textContent = "This kernel uses none."; return; }
  const touched = sharedWords(event), write = stores(event);
  $("shared_hint").textContent = touched.length === 0 ? "This step does not touch it. Colours: the warp that wrote a word last; empty: nobody yet." :
    (event.waves === undefined ? "" : count(event.waves, "cycle") + " of the banks, " + (event.waves > event.fewest ? event.fewest + " without conflicts" : "the fewest for " + event.b + " bytes a lane") + ". ") +
    "Above: words asked of each bank" + (event.b > 4 ? " by the group of lanes that asks most" : "") + ".";
  const rows = Math.ceil(words / 32);
  const size = Math.max(5, Math.min(16, Math.floor(420 / rows)));
  const [c, width] = prepare($("grid"), rows * size);
  const cell = width / 32, before = ownersBefore(now);
  for (let w = 0; w < words; ++w) {
    if (before[w] < 0) continue;
    c.fillStyle = warpColor(before[w], 0.35);
    c.fillRect(w % 32 * cell, Math.floor(w / 32) * size, cell, size);
  }
  c.fillStyle = style("--line");
  for (let b = 1; b < 32; ++b) c.fillRect(b * cell, 0, 0.5, rows * size);
  c.fillStyle = style(write ? "--write" : "--read");
  let lowest = Infinity, highest = 0;
  for (const [word] of touched) {
    const y = Math.floor(word / 32) * size;
    c.fillRect(word % 32 * cell + 0.5, y + 0.5, cell - 1, size - 1);
    lowest = Math.min(lowest, y);
    highest = Math.max(highest, y + size);
  }
  if (size >= 12 && touched.length) {
    c.fillStyle = "#ffffff";
    c.font = "9px monospace";
    for (const [word, lane] of touched) c.fillText(lane, word % 32 * cell + 2, Math.floor(word / 32) * size + size - 4);
  }
  const box = $("grid_box");
  if (touched.length && (lowest < box.scrollTop || highest > box.scrollTop + box.clientHeight)) box.scrollTop = lowest - 40;
  drawBanks(event, touched);
}
function drawBanks(event, touched) {
  const together = event.b <= 4 ? 32 : event.b === 8 ? 16 : 8;
  const most = new Array(32).fill(0);
  for (let first = 0; first < 32; first += together) {
    const seen = new Map();
    for (const [word, lane] of touched) {
      if (lane < first || lane >= first + together) continue;
      if (!seen.has(word % 32)) seen.set(word % 32, new Set());
      seen.get(word % 32).add(word);
    }
    for (const [bank, set] of seen) most[bank] = Math.max(most[bank], set.size);
  }
  const [c, width] = prepare($("banks"), 40);
  const cell = width / 32, top = Math.max(1, ...most);
  most.forEach((n, bank) => {
    c.fillStyle = n > 1 ? style("--bad") : style("--read");
    const height = 26 * n / top;
    c.fillRect(bank * cell + 1, 28 - height, cell - 2, height);
    c.fillStyle = style("--soft");
    c.font = "9px sans-serif";
    c.textAlign = "center";
    c.fillText(n > 1 ? n : bank % 4 === 0 ? bank : "", (bank + 0.5) * cell, 38);
  });
}

// ---- global memory: the sectors of 32 bytes

function showSectors(event) {
  const box = $("sectors");
  box.replaceChildren();
  if (event.g === undefined) { $("global_hint").textContent = "This step does not touch it."; return; }
  const used = new Map();
  for (const at of globalAddresses(event)) {
    if (at === null) continue;
    for (let byte = at; byte < at + event.b; byte += 2) {
      const sector = Math.floor(byte / 32);
      if (!used.has(sector)) used.set(sector, new Set());
      used.get(sector).add(Math.floor(byte % 32 / 4));
    }
  }
  const buffer = data.buffers.find((b) => { const first = [...used.keys()][0] * 32 + 31; return first >= b.begin && first - 31 < b.end; });
  $("global_hint").textContent = count(event.sectors, "sector") + " of 32 bytes for one request; " + count(event.least, "sector") + " hold its distinct bytes" +
    (buffer ? ". In " + buffer.name + " (" + bytesText(buffer.end - buffer.begin) + "); numbers are bytes from its start." : ".");
  const name = instructions[event.i].class.startsWith("st.") || instructions[event.i].class === "atomic" ? "write" : "read";
  for (const sector of [...used.keys()].sort((a, b) => a - b)) {
    const element = text(box, "span", "", "sector");
    text(element, "b", (sector * 32 - (buffer ? buffer.begin : 0)).toLocaleString("en-US"));
    for (let word = 0; word < 8; ++word) text(element, "i", "", used.get(sector).has(word) ? name : "");
  }
}

// Which lane holds which element of a matrix product's operands (PTX ISA, "Matrix Fragments for mma.m16n8k8, .m16n8k16"), and of the
// 8 x 8 matrices of ldmatrix.
function showFragments(event) {
  const { name } = instructions[event.i], box = $("fragments");
  box.replaceChildren();
  const shape = /^mma\.sync\.aligned\.m16n8k(\d+)\.row\.col\.f32\.(\w+)/.exec(name), load = /^ldmatrix.*\.x(\d)(\.trans)?/.exec(name);
  $("fragments_title").hidden = !shape && !load;
  const grid = (title, rows, columns, lane) => {
    const figure = text(box, "figure", "");
    text(figure, "figcaption", title);
    const table = text(figure, "table", "");
    for (let r = 0; r < rows; ++r) {
      const row = text(table, "tr", "");
      for (let k = 0; k < columns; ++k) {
        const holder = lane(r, k), cell = text(row, "td", holder);
        cell.style.background = warpColor(holder, 0.35);
      }
    }
  };
  if (shape) {
    const depth = Number(shape[1]), each = shape[2] === "tf32" ? 1 : 2;  // elements a register
    grid("A, 16 x " + depth + ": lane", 16, depth, (r, k) => r % 8 * 4 + Math.floor(k / each) % 4);
    grid("B, " + depth + " x 8: lane", depth, 8, (k, n) => n * 4 + Math.floor(k / each) % 4);
    grid("C and D, 16 x 8: lane", 16, 8, (r, n) => r % 8 * 4 + Math.floor(n / 2));
  } else if (load) {
    for (let m = 0; m < Number(load[1]); ++m)
      grid("matrix " + m + ", rows at the addresses of lanes " + 8 * m + " to " + (8 * m + 7) + ": lane", 8, 8,
        (r, k) => load[2] ? k * 4 + Math.floor(r / 2) : r * 4 + Math.floor(k / 2));
  }
}

function showLanes(event) {
  const box = $("lanes");
  box.replaceChildren();
  const shared = event.s && event.g === undefined ? sharedAddresses(event) : null, global = event.g ? globalAddresses(event) : null;
  const active = activeLanes(event);
  for (let lane = 0; lane < 32; ++lane) {
    const t = event.w * 32 + lane, [x, y] = data.block_size;
    const at = global ? global[lane] : shared ? shared[lane] : null;
    const element = text(box, "span", lane + (at === null ? "" : ": " + at), active >>> lane & 1 ? "" : "off");
    element.title = "thread (" + t % x + ", " + Math.floor(t / x) % y + ", " + Math.floor(t / x / y) + ")" + (active >>> lane & 1 ? "" : ", not active");
  }
}

// Copies of its warp that are in flight after each event: those of the open group and of groups that no wait has finished.
const inFlight = (function () {
  const groups = Array.from({ length: warpCount }, () => [0]);
  return events.map((event) => {
    const instruction = instructions[event.i], mine = groups[event.w];
    if (instruction.name === "cp.async.commit_group") mine.push(0);
    else if (instruction.name === "cp.async.wait_all") mine.splice(0, mine.length, 0);
    else if (instruction.name === "cp.async.wait_group") mine.splice(0, Math.max(0, mine.length - 1 - instruction.pending));
    else if (instruction.name.startsWith("cp.async.")) ++mine[mine.length - 1];
    return mine.reduce((a, b) => a + b, 0);
  });
})();
function showCopies() {
  const flight = new Array(warpCount).fill(-1);
  for (let k = now, left = warpCount; k >= 0 && left > 0; --k) {
    if (flight[events[k].w] >= 0) continue;
    flight[events[k].w] = inFlight[k];
    --left;
  }
  $("copies").textContent = flight.map((n, w) => n > 0 ? "warp " + w + ": " + count(n, "request") : "").filter(Boolean).join(", ") || "None.";
}

// ---- timeline

const phases = [];
(function () {
  const of = new Array(warpCount).fill(0);
  for (const event of events) {
    phases.push(of[event.w]);
    if (isBarrier(event)) ++of[event.w];
  }
})();
const strip = document.createElement("canvas");  // the timeline without the cursor
function drawTimeline() {
  const height = Math.max(36, Math.min(120, warpCount * 9));
  const [c, width] = prepare($("timeline"), height);
  const row = height / warpCount;
  events.forEach((event, k) => {
    if (only >= 0 && event.w !== only) return;
    c.fillStyle = isBarrier(event) ? style("--ink") : kColors[instructions[event.i].class] || "#888";
    c.fillRect(k / events.length * width, event.w * row, Math.max(1, width / events.length), row - 1);
  });
  strip.width = $("timeline").width;
  strip.height = $("timeline").height;
  strip.getContext("2d").drawImage($("timeline"), 0, 0);
}
function drawCursor() {
  const canvas = $("timeline"), c = canvas.getContext("2d");
  c.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  c.drawImage(strip, 0, 0, canvas.clientWidth, canvas.clientHeight);
  c.fillStyle = style("--bad");
  c.fillRect((now + 0.5) / events.length * canvas.clientWidth - 1, 0, 2, canvas.clientHeight);
}
function showLegend() {
  for (const kind of new Set(instructions.map((i) => i.class))) {
    if (!kColors[kind]) continue;
    const swatch = text($("legend"), "span", "", "swatch");
    swatch.style.background = kind === "barrier" ? "var(--ink)" : kColors[kind];
    $("legend").append(kind);
  }
}

function show() {
  const event = events[now], instruction = instructions[event.i];
  $("position").value = now;
  $("where").textContent = "step " + (now + 1).toLocaleString("en-US") + " of " + events.length.toLocaleString("en-US") + ", phase " + phases[now];
  const active = activeLanes(event);
  let lanes = 0;
  for (let lane = 0; lane < 32; ++lane) lanes += active >>> lane & 1;
  $("step").replaceChildren();
  text($("step"), "b", "warp " + event.w + ": " + instruction.name);
  $("step").append(document.createElement("br"), placeOf(instruction) + calledAt(instruction) + " (PTX line " + instruction.ptx + ")",
  document.createElement("br"),
  (lanes === 32 ? "all lanes" : count(lanes, "lane")) + (event.b ? ", " + bytesText(event.b) + " each" : "") +
    (event.n ? ", after " + count(event.n, "other instruction") + " of this warp" : "") + "; in this block " + instruction.executed.toLocaleString("en-US") + " times");
  if (isFinding(event)) text($("step"), "span", event.waves > event.fewest ? " Bank conflict." : " Scattered sectors.", "bad");
  markLines(instruction);
  drawShared(event);
  showSectors(event);
  showCopies();
  showLanes(event);
  showFragments(event);
  drawCursor();
}
function go(step) {
  now = Math.max(0, Math.min(events.length - 1, step));
  show();
}
function seek(direction, wanted) {
  for (let k = now + direction; k >= 0 && k < events.length; k += direction)
    if ((only < 0 || events[k].w === only) && wanted(events[k])) return go(k);
  return undefined;
}
function pause() {
  clearTimeout(timer);
  timer = 0;
  $("play").textContent = "\u25B6 play";
}
function play() {
  if (timer) return pause();
  $("play").textContent = "\u23F8 pause";
  const tick = () => {
    const before = now;
    seek(1, () => true);
    if (before === now) return pause();
    timer = setTimeout(tick, 1000 / Math.pow(2, Number($("speed").value)));
    return undefined;
  };
  timer = setTimeout(tick, 0);
  return undefined;
}

showHeader();
countLines();
findFindings();
if (events.length === 0) {
  $("step").textContent = "This block did nothing that others may see.";
} else {
  text($("warp"), "option", "all").value = -1;
  for (let w = 0; w < warpCount; ++w) text($("warp"), "option", w).value = w;
  $("position").max = events.length - 1;
  $("position").addEventListener("input", () => go(Number($("position").value)));
  $("warp").addEventListener("change", () => { only = Number($("warp").value); drawTimeline(); if (only >= 0 && events[now].w !== only) seek(1, () => true); drawCursor(); });
  $("first").addEventListener("click", () => go(0));
  $("back").addEventListener("click", () => seek(-1, () => true));
  $("next").addEventListener("click", () => seek(1, () => true));
  $("barrier").addEventListener("click", () => seek(1, isBarrier));
  $("conflict").addEventListener("click", () => seek(1, isFinding));
  $("play").addEventListener("click", play);
  $("timeline").addEventListener("click", (e) => go(Math.floor(e.offsetX / $("timeline").clientWidth * events.length)));
  const keys = { ArrowLeft: () => seek(-1, () => true), ArrowRight: () => seek(1, () => true), " ": play, b: () => seek(1, isBarrier), c: () => seek(1, isFinding), Home: () => go(0), End: () => go(events.length - 1) };
  document.addEventListener("keydown", (e) => {
    if (!keys[e.key] || ["INPUT", "SELECT", "BUTTON"].includes(e.target.tagName)) return;
    e.preventDefault();
    keys[e.key]();
  });
  window.addEventListener("resize", () => { drawTimeline(); show(); });
  showLegend();
  drawTimeline();
  // "#12": step 12.
  go(/^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) - 1 : 0);
}
