// Asks the server of this page what the net makes of a drawing.
"use strict";

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

const ready = Promise.resolve(); // the server has loaded the net

async function lookAt(levels) {
  let answer;
  try {
    answer = await fetch("look", {
      method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: levels,
    });
  } catch {
    throw new Error("the server has stopped; start it again: classicnets draw");
  }
  const seen = await answer.json();
  if (!answer.ok) throw new Error(seen.error);
  for (const picture of [...seen.steps, ...seen.layers]) picture.levels = bytes(picture.levels);
  return seen;
}
