// What classicnets.digit_photo and a Preparation do, for drawings: grey levels without noise.
// Each function bears the name of the one in photo.py or preparation.py that it follows; a test
// holds the two against each other, byte by byte.
"use strict";

const FIELD = 28, DIGIT = 20, CENTRE = 14;
const LEAST_CONTRAST = 12;
const STROKE = 2;

// ---- numbers as numpy has them

function roundEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

function percentile(values, percent) {
  const sorted = Float64Array.from(values).sort();
  const place = ((sorted.length - 1) * percent) / 100;
  const low = Math.floor(place), high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

function centreOfMass(pixels, width, height) {
  let sum = 0, x = 0, y = 0;
  for (let i = 0; i < width * height; i++) {
    sum += pixels[i];
    x += pixels[i] * (i % width);
    y += pixels[i] * Math.floor(i / width);
  }
  return [x / sum, y / sum];
}

// ---- regions

function label(mask, width, height, diagonal) {
  const labels = new Int32Array(width * height);
  const reach = [[1, 0], [-1, 0], [0, 1], [0, -1], ...(diagonal ? [[1, 1], [1, -1], [-1, 1], [-1, -1]] : [])];
  let count = 0;
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    labels[start] = ++count;
    const stack = [start];
    while (stack.length) {
      const i = stack.pop();
      for (const [dx, dy] of reach) {
        const x = (i % width) + dx, y = Math.floor(i / width) + dy, j = y * width + x;
        if (x < 0 || y < 0 || x >= width || y >= height || !mask[j] || labels[j]) continue;
        labels[j] = count;
        stack.push(j);
      }
    }
  }
  return { labels, count };
}

function boxes(labels, count, width) {
  const found = Array.from({ length: count }, (_, i) => (
    { numbers: [i + 1], left: Infinity, top: Infinity, right: 0, bottom: 0, mass: 0, free: false }
  ));
  labels.forEach((number, i) => {
    if (!number) return;
    const x = i % width, y = Math.floor(i / width), box = found[number - 1];
    box.left = Math.min(box.left, x);
    box.top = Math.min(box.top, y);
    box.right = Math.max(box.right, x + 1);
    box.bottom = Math.max(box.bottom, y + 1);
  });
  return found;
}

const heightOf = (box) => box.bottom - box.top;

function encloses(box, other) {
  return box.left < other.left && box.top < other.top && box.right > other.right && box.bottom > other.bottom;
}

function gap(box, other) {
  const across = Math.max(box.left, other.left) - Math.min(box.right, other.right);
  return Math.max(across, Math.max(box.top, other.top) - Math.min(box.bottom, other.bottom), 0);
}

function joined(box, other) {
  return {
    ...box,
    numbers: [...box.numbers, ...other.numbers],
    left: Math.min(box.left, other.left),
    top: Math.min(box.top, other.top),
    right: Math.max(box.right, other.right),
    bottom: Math.max(box.bottom, other.bottom),
    mass: box.mass + other.mass,
  };
}

// ---- the digit in the drawing

function digitPhoto(levels, side) {
  if (hasFormOfMnist(levels, side)) return { levels: Uint8Array.from(levels), notes: ["taken as it is"] };
  const mask = sheet(levels, side);
  const level = percentile(levels.filter((_, i) => mask[i]), 50);
  const paper = mask.map((inside, i) => inside && Math.abs(levels[i] - level) <= LEAST_CONTRAST);
  const contrasts = [1, -1].map((sign) => Float64Array.from(levels, (value) => sign * (value - level)));
  const [light, dark] = contrasts.map((contrast) => ink(contrast, paper, side));
  const inverted = dark.blobs.length > 0 && (!light.blobs.length || isLess(light.blobs[0], dark.blobs[0]));
  const { blobs, labels } = inverted ? dark : light;
  if (!blobs.length) return { levels: new Uint8Array(FIELD * FIELD), notes: ["no ink found"] };
  const { digit, others } = chosenDigit(blobs);
  const contrast = contrasts[inverted ? 1 : 0];
  const width = digit.right - digit.left, height = heightOf(digit);
  const own = new Uint8Array(width * height), within = new Float64Array(width * height);
  for (let i = 0; i < own.length; i++) {
    const from = (digit.top + Math.floor(i / width)) * side + digit.left + (i % width);
    own[i] = digit.numbers.includes(labels[from]) ? 1 : 0;
    within[i] = contrast[from];
  }
  const full = percentile(within.filter((_, i) => own[i]), 90);
  let near = own;
  for (let i = 0; i < 1 + Math.floor(height / 60); i++) near = cross(near, width, height, 1);
  const inked = within.map((value, i) => (near[i] ? Math.min(1, Math.max(0, value / full)) : 0));
  const { field, thickened } = fitted(inked, own, width, height);
  const kind = inverted ? "dark on light, inverted" : "light on dark";
  const notes = [
    `${kind} (background ${roundEven(level)})`,
    `digit at ${digit.left}, ${digit.top} to ${digit.right}, ${digit.bottom}`,
    ...(thickened ? ["thin strokes thickened"] : []),
    ...warnings(digit, others, side, full),
  ];
  return { levels: field, notes };
}

function hasFormOfMnist(levels, side) {
  if (side !== FIELD || percentile(levels, 50) !== 0 || Math.max(...levels) < 128) return false;
  const line = (place) => Array.from({ length: side }, (_, i) => levels[place(i)]);
  const last = side * (side - 1);
  const edges = [line((i) => i), line((i) => last + i), line((i) => i * side), line((i) => i * side + side - 1)];
  return edges.every((edge) => edge.filter((value) => value > 0).length < side / 2)
    && centreOfMass(levels, side, side).every((middle) => Math.abs(middle - CENTRE) <= 1);
}

function sheet(levels, side) {
  const smooth = Array.from({ length: 9 }, (_, i) => Math.exp(-((i - 4) ** 2) / 2));
  const sum = smooth.reduce((a, b) => a + b);
  const weights = smooth.map((weight) => weight / sum);
  const slopes = weights.map((weight, i) => weight * (i - 4));
  const across = filtered(filtered(levels, side, slopes, false), side, weights, true);
  const down = filtered(filtered(levels, side, weights, false), side, slopes, true);
  const { labels, count } = label(across.map((value, i) => Math.hypot(value, down[i]) < 4), side, side, false);
  if (!count) return new Uint8Array(side * side).fill(1);
  const sizes = new Array(count).fill(0);
  labels.forEach((number) => { if (number) sizes[number - 1]++; });
  const [largest, second] = sizes.map((size, i) => i + 1).sort((a, b) => sizes[b - 1] - sizes[a - 1]);
  if (second && sizes[second - 1] >= 0.2 * levels.length && lieInHoles(labels, second, largest, side)) {
    return Uint8Array.from(labels, (number) => number === second);
  }
  return Uint8Array.from(labels, (number) => number === largest);
}

// a window of nine along rows or columns, the edge repeated; a plain loop, for it takes most of the time
function filtered(values, side, window, vertical) {
  const near = Int32Array.from({ length: side + 8 }, (_, i) => Math.min(side - 1, Math.max(0, i - 4)));
  const found = new Float64Array(side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let total = 0;
      for (let k = 0; k < 9; k++) total += window[k] * values[vertical ? near[y + k] * side + x : y * side + near[x + k]];
      found[y * side + x] = total;
    }
  }
  return found;
}

function lieInHoles(labels, inner, outer, side) {
  const outside = label(Uint8Array.from(labels, (number) => number !== outer), side, side, false).labels;
  const open = new Set();
  for (let i = 0; i < side; i++) {
    for (const j of [i, side * (side - 1) + i, i * side, i * side + side - 1]) open.add(outside[j]);
  }
  return labels.every((number, i) => number !== inner || !open.has(outside[i]));
}

function ink(contrast, paper, side) {
  const first = blobsOf(contrast, LEAST_CONTRAST, paper, side);
  if (!first.blobs.length) return first;
  const number = first.blobs[0].numbers[0];
  const full = percentile(contrast.filter((_, i) => first.labels[i] === number), 95);
  return blobsOf(contrast, Math.max(LEAST_CONTRAST, 0.3 * full), paper, side);
}

function blobsOf(contrast, threshold, paper, side) {
  const { labels, count } = label(contrast.map((value) => value > threshold), side, side, true);
  const all = boxes(labels, count, side);
  labels.forEach((number, i) => { if (number) all[number - 1].mass += contrast[i]; });
  const [edge] = boxes(paper, 1, side);
  const tall = Math.max(4, 0.025 * side);
  let blobs = all.filter((box) => Math.max(heightOf(box), box.right - box.left) >= tall);
  for (const blob of blobs) blob.free = encloses(edge, blob);
  blobs = blobs.filter((blob) => !blobs.some((other) => encloses(blob, other) && heightOf(other) >= 0.3 * heightOf(blob)));
  if (blobs.some((blob) => blob.free && heightOf(blob) >= tall)) blobs = blobs.filter((blob) => blob.free);
  blobs.sort((a, b) => (heightOf(a) < tall) - (heightOf(b) < tall) || b.mass - a.mass);
  return { blobs: blobs.length && heightOf(blobs[0]) >= tall ? blobs : [], labels };
}

function isLess(blob, other) {
  return blob.free === other.free ? blob.mass < other.mass : !blob.free;
}

function chosenDigit([first, ...rest]) {
  let digit = first;
  const others = [];
  for (const blob of rest) {
    const piece = heightOf(blob) < 0.5 * heightOf(digit);
    if (piece && blob.mass < 0.01 * digit.mass) continue;
    if (gap(digit, blob) <= (piece ? 0.2 : 0) * heightOf(digit)) digit = joined(digit, blob);
    else if (!piece) others.push(blob);
  }
  return { digit, others };
}

// ---- 20x20 in 28x28

function cross(mask, width, height, grown) {
  // grown 1: a pixel with any of itself and its four neighbours; grown 0: with all of them
  return mask.map((own, i) => {
    const x = i % width, y = Math.floor(i / width);
    const around = [own, x > 0 && mask[i - 1], x < width - 1 && mask[i + 1], y > 0 && mask[i - width], y < height - 1 && mask[i + width]];
    return grown ? around.some(Boolean) : around.every(Boolean);
  });
}

function fitted(inked, own, width, height) {
  const count = (mask) => mask.reduce((sum, value) => sum + value, 0);
  const inner = cross(own, width, height, 0);
  const scale = DIGIT / Math.max(width, height);
  const missing = (STROKE - ((2 * count(own)) / (count(own) - count(inner))) * scale) / scale;
  let image = Uint8Array.from(inked, (value) => roundEven(255 * value));
  const thickened = missing >= 2;
  if (thickened) image = thickest(image, width, height, Math.trunc(missing / 2));
  const size = [width, height].map((length) => Math.max(1, roundEven(length * scale)));
  const small = resized(image, width, height, ...size);
  const most = Math.max(...small);
  const pixels = Float64Array.from(small, (value) => value * (255 / most));
  const [left, top] = centreOfMass(pixels, ...size).map((middle, axis) => (
    Math.min(Math.max(0, roundEven(CENTRE - middle)), FIELD - size[axis])
  ));
  const field = new Uint8Array(FIELD * FIELD);
  pixels.forEach((value, i) => {
    field[(top + Math.floor(i / size[0])) * FIELD + left + (i % size[0])] = roundEven(value);
  });
  return { field, thickened };
}

function thickest(image, width, height, reach) {
  return image.map((_, i) => {
    const x = i % width, y = Math.floor(i / width);
    let most = 0;
    for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
      for (let u = Math.max(0, x - reach); u <= Math.min(width - 1, x + reach); u++) {
        most = Math.max(most, image[v * width + u]);
      }
    }
    return most;
  });
}

// Pillow's bilinear resampling of 8-bit pictures: each axis by itself, weights of 22 bits; rows
// come first, but for what is more than twice as high as wide and shrinks
function resized(image, width, height, newWidth, newHeight) {
  if (height > 2 * width && newHeight < height) {
    return resizedRows(resizedColumns(image, width, height, newHeight), width, newHeight, newWidth);
  }
  return resizedColumns(resizedRows(image, width, height, newWidth), newWidth, height, newHeight);
}

function resizedRows(image, width, height, newWidth) {
  const found = new Uint8Array(newWidth * height);
  weightsOf(width, newWidth).forEach(({ first, weights }, x) => {
    for (let y = 0; y < height; y++) {
      found[y * newWidth + x] = weighed(weights, (k) => image[y * width + first + k]);
    }
  });
  return found;
}

function resizedColumns(image, width, height, newHeight) {
  const found = new Uint8Array(width * newHeight);
  weightsOf(height, newHeight).forEach(({ first, weights }, y) => {
    for (let x = 0; x < width; x++) {
      found[y * width + x] = weighed(weights, (k) => image[(first + k) * width + x]);
    }
  });
  return found;
}

function weighed(weights, value) {
  const sum = weights.reduce((total, weight, k) => total + weight * value(k), 2 ** 21);
  return Math.min(255, Math.max(0, Math.floor(sum / 2 ** 22)));
}

function weightsOf(before, after) {
  const scale = before / after, support = Math.max(1, scale);
  return Array.from({ length: after }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(before, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, k) => Math.max(0, 1 - Math.abs((k + first - centre + 0.5) * (1 / support))));
    const sum = raw.reduce((a, b) => a + b);
    return { first, weights: raw.map((weight) => Math.trunc(0.5 + (weight / sum) * 2 ** 22)) };
  });
}

function warnings(digit, others, side, full) {
  return [
    others.length && `${others.length + 1} blobs could be digits; the heaviest was taken`,
    (digit.left === 0 || digit.top === 0 || digit.right === side || digit.bottom === side)
      && "the digit touches the edge of the picture",
    heightOf(digit) < DIGIT / 2 && `the digit is only ${heightOf(digit)} pixels high`,
    full < 2 * LEAST_CONTRAST && "the ink is faint",
  ].filter(Boolean);
}

// ---- what the net gets

function padded(levels, before, after) {
  const start = Math.floor((after - before) / 2);
  const field = new Uint8Array(after * after);
  levels.forEach((level, i) => {
    field[(start + Math.floor(i / before)) * after + start + (i % before)] = level;
  });
  return field;
}

function normalized(levels, mean, std) {
  const scale = Math.fround(1 / (255 * std)), shift = Math.fround(-mean / std);
  return Float32Array.from(levels, (level) => Math.fround(Math.fround(level * scale) + shift));
}
