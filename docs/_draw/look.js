// What the net makes of a drawing, computed in this browser: onnxruntime-web and a net of ONNX.
"use strict";

function bytes(base64) {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found;
}

function loaded(source) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), {
      src: source, onload: resolve, onerror: () => reject(new Error(`${source} cannot be loaded`)),
    });
    document.head.append(script);
  });
}

// The files are scripts, not fetched, so that the page works opened from disk as well.
async function begun() {
  await Promise.all(["ort.wasm.min.js", "runtime.js", "model.js"].map(loaded));
  const packed = new Blob([bytes(RUNTIME)]).stream().pipeThrough(new DecompressionStream("gzip"));
  ort.env.wasm.wasmBinary = await new Response(packed).arrayBuffer();
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([bytes(GLUE)], { type: "text/javascript" })) };
  ort.env.wasm.numThreads = 1;
  return ort.InferenceSession.create(bytes(MODEL), { executionProviders: ["wasm"] });
}

const ready = begun();

async function lookAt(levels) {
  const found = digitPhoto(levels, Math.sqrt(levels.length));
  const { source_size: before, steps, mean, std } = NET.preparation;
  const side = steps.length ? steps[0][1] : before;
  const given = padded(found.levels, before, side);
  const net = await ready;
  const images = new ort.Tensor("float32", normalized(given, mean[0], std[0]), [1, 1, side, side]);
  const outputs = await net.run({ images });
  const names = net.outputNames.filter((name) => name !== "logits");
  return {
    notes: found.notes,
    steps: [
      { name: "found, scaled, centred", side: before, levels: found.levels },
      { name: `what the net gets, ${side}x${side}`, side, levels: given },
    ],
    layers: names.map((name) => layer(name, outputs[name])),
    outputs: Array.from(outputs.logits.data),
  };
}

function layer(name, { dims, data }) {
  const low = data.reduce((a, b) => Math.min(a, b)), high = data.reduce((a, b) => Math.max(a, b));
  const scale = 255 / (high - low || 1);
  return {
    name, low, high,
    shape: [...dims.slice(1), 1, 1].slice(0, 3),
    levels: Uint8Array.from(data, (value) => Math.round((value - low) * scale)),
  };
}
