// The page: a pen that leaves strokes, and what the net makes of them, drawn as the pen moves.
// NET says what the net is; lookAt(levels) is the net, once `ready`: grey levels of the drawing in,
// layers out.
"use strict";

const SIDE = 140; // pixels of the drawing that the net's preparation gets
const PEN = 0.09; // thickness, of the side of the field
const STEP = 1 / 28; // of the side that an arrow key moves the pen

const part = (id) => document.getElementById(id);
const field = part("pen");
const small = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
small.canvas.width = small.canvas.height = SIDE;

let strokes = []; // each a list of points [x, y] in 0..1
let pointer = null; // the id of the pointer that draws
const keyboard = { x: 0.5, y: 0.5, down: false };

// ---- the drawing

function paint(context) {
  const side = context.canvas.width;
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  context.strokeStyle = context.fillStyle = "#fff";
  context.lineWidth = PEN * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    for (const [x, y] of stroke) context.lineTo(x * side, y * side);
    if (stroke.length === 1) context.lineTo(stroke[0][0] * side, stroke[0][1] * side + 0.01);
    context.stroke();
  }
}

function changed() {
  paint(field.getContext("2d"));
  part("invitation").hidden = strokes.length > 0;
  refresh();
}

function fit() {
  field.width = field.height = Math.round(field.clientWidth * devicePixelRatio);
  paint(field.getContext("2d"));
}

function place(event) {
  const box = field.getBoundingClientRect();
  const within = (value) => Math.min(1, Math.max(0, value));
  return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
}

function clear() {
  strokes = [];
  lift();
  changed();
}

function undo() {
  strokes.pop();
  lift();
  changed();
}

field.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  event.preventDefault();
  field.focus({ preventScroll: true, focusVisible: false });
  pointer = event.pointerId;
  field.setPointerCapture(pointer);
  part("cursor").hidden = true;
  strokes.push([place(event)]);
  changed();
});
field.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents?.() ?? [];
  strokes.at(-1)?.push(...(events.length ? events : [event]).map(place));
  changed();
});
for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
  field.addEventListener(end, (event) => {
    if (event.pointerId === pointer) pointer = null;
  });
}

// ---- the keyboard

function showCursor() {
  const cursor = part("cursor");
  cursor.hidden = false;
  cursor.style.left = `${100 * keyboard.x}%`;
  cursor.style.top = `${100 * keyboard.y}%`;
  cursor.classList.toggle("down", keyboard.down);
}

function lift() {
  keyboard.down = false;
  part("cursor").classList.remove("down");
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

field.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in MOVES) {
    const [x, y] = MOVES[event.key];
    keyboard.x = Math.min(1, Math.max(0, keyboard.x + x * STEP));
    keyboard.y = Math.min(1, Math.max(0, keyboard.y + y * STEP));
    if (keyboard.down) {
      strokes.at(-1).push([keyboard.x, keyboard.y]);
      changed();
    }
    showCursor();
  } else if (event.key === " ") {
    keyboard.down = !keyboard.down;
    if (keyboard.down) {
      strokes.push([[keyboard.x, keyboard.y]]);
      changed();
    }
    showCursor();
  } else if (event.key === "Backspace" || event.key === "Delete") {
    undo();
  } else if (event.key === "Escape") {
    clear();
  } else {
    return;
  }
  event.preventDefault();
});
field.addEventListener("focus", () => { if (field.matches(":focus-visible")) showCursor(); });
field.addEventListener("blur", () => { part("cursor").hidden = true; lift(); });
part("clear").addEventListener("click", clear);
part("undo").addEventListener("click", undo);
new ResizeObserver(fit).observe(field);

// ---- what the net makes of it

let busy = false;
let again = false;

async function refresh() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    try {
      await ready;
      const start = performance.now();
      paint(small);
      const pixels = small.getImageData(0, 0, SIDE, SIDE).data;
      show(await lookAt(Uint8Array.from({ length: SIDE * SIDE }, (_, i) => pixels[4 * i])));
      const milliseconds = performance.now() - start;
      document.body.dataset.milliseconds = milliseconds;
      part("time").textContent = strokes.length ? `answered in ${milliseconds.toFixed(0)} ms` : "";
    } catch (error) {
      tell(error.message);
    }
  }
  busy = false;
}

function show(seen) {
  const notes = strokes.length ? seen.notes.join("; ") : "an empty field, and what each layer makes of it";
  part("notes").textContent = `${notes}.`;
  part("steps").replaceChildren(...seen.steps.map(({ name, side, levels }) => {
    const figure = document.createElement("figure");
    figure.append(picture(levels, side, side), Object.assign(document.createElement("figcaption"), { textContent: name }));
    return figure;
  }));
  const rows = part("layers");
  if (rows.children.length !== seen.layers.length) rows.replaceChildren(...seen.layers.map(row));
  seen.layers.forEach((layer, i) => fill(rows.children[i], layer));
  answer(seen.outputs);
}

function grey(context, levels) {
  const image = context.createImageData(context.canvas.width, context.canvas.height);
  levels.forEach((level, i) => image.data.set([level, level, level, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function picture(levels, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { className: "map", width, height });
  grey(canvas.getContext("2d"), levels);
  return canvas;
}

const isUnits = ({ shape }) => shape[1] * shape[2] === 1;
const several = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function row(layer) {
  const [count, height, width] = layer.shape;
  const element = Object.assign(document.createElement("div"), { className: "layer" });
  const title = document.createElement("h3");
  const words = isUnits(layer) ? several(count, "unit") : `${several(count, "map")} of ${height}×${width}`;
  title.append(layer.name.toUpperCase(), " ", Object.assign(document.createElement("span"), { textContent: words }));
  const maps = Object.assign(document.createElement("div"), { className: "maps" });
  if (isUnits(layer)) {
    const columns = columnsOf(count);
    const canvas = Object.assign(document.createElement("canvas"), { className: "units" });
    Object.assign(canvas, { width: 13 * columns, height: 13 * Math.ceil(count / columns) });
    maps.append(canvas);
  } else {
    maps.style.setProperty("--side", `${Math.min(112, Math.max(36, 4 * width))}px`);
    maps.style.setProperty("--columns", count <= 8 ? count : 16);
    maps.style.setProperty("--narrow", Math.min(8, count));
    for (let i = 0; i < count; i++) maps.append(picture(new Uint8Array(height * width), width, height));
  }
  element.append(title, maps);
  return element;
}

function columnsOf(count) {
  if (NET.codes && count === NET.codes[0].length) return 7; // F6 as the code pictures have it
  for (let columns = 42; columns >= 20; columns--) if (count % columns === 0) return columns;
  return Math.min(count, 40);
}

function fill(element, layer) {
  const [count, height, width] = layer.shape;
  const canvases = element.querySelectorAll("canvas");
  if (isUnits(layer)) {
    const context = canvases[0].getContext("2d");
    const columns = columnsOf(count);
    layer.levels.forEach((level, i) => {
      context.fillStyle = `rgb(${level}, ${level}, ${level})`;
      context.fillRect(13 * (i % columns), 13 * Math.floor(i / columns), 12, 12);
    });
    return;
  }
  const area = height * width;
  canvases.forEach((canvas, i) => grey(canvas.getContext("2d"), layer.levels.subarray(i * area, (i + 1) * area)));
}

// ---- the outputs

function answer(outputs) {
  const best = outputs.indexOf(Math.max(...outputs));
  const powers = outputs.map((output) => Math.exp(output - outputs[best]));
  const sum = powers.reduce((a, b) => a + b);
  const farthest = Math.max(...outputs.map((output) => -output));
  const drawn = strokes.length > 0;
  tell(drawn ? NET.classes[best] : "nothing is drawn yet", !drawn);
  document.body.dataset.outputs = JSON.stringify(outputs);
  [...part("outputs").rows].forEach((line, i) => {
    line.classList.toggle("best", drawn && i === best);
    const share = NET.codes ? -outputs[i] / farthest : powers[i] / sum;
    line.querySelector(".bar").style.width = `${drawn ? 100 * share : 0}%`;
    const words = NET.codes ? (-outputs[i]).toFixed(1) : `${(100 * share).toFixed(1)} %`;
    line.lastElementChild.textContent = drawn ? words : "";
  });
}

function tell(words, small = words.length > 12) {
  const label = part("label");
  label.classList.toggle("nothing", small);
  if (label.textContent !== words) label.textContent = words;
}

function begin() {
  const kind = NET.codes ? "; the outputs are distances to the ten code pictures, and the nearest wins" : "";
  part("about").textContent =
    `${NET.net}, trained on ${NET.data}: ${(100 * NET.accuracy).toFixed(2)} % of ` +
    `${NET.count.toLocaleString("en")} test pictures right${kind}.`;
  part("outputs").replaceChildren(...NET.classes.map((name, i) => {
    const line = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { textContent: name });
    const cell = Object.assign(document.createElement("td"), { className: "length" });
    cell.append(Object.assign(document.createElement("div"), { className: "bar" }));
    head.scope = "row";
    line.append(head, ...(NET.codes ? [code(NET.codes[i])] : []), cell, document.createElement("td"));
    return line;
  }));
  fit();
  tell("the net is being loaded", true);
  changed();
}

function code(signs) {
  const cell = document.createElement("td");
  const canvas = picture(Uint8Array.from(signs, (sign) => (sign > 0 ? 255 : 0)), 7, 12);
  canvas.classList.add("code");
  cell.append(canvas);
  return cell;
}

begin();
