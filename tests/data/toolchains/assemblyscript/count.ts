import { words, entries } from "./lib";

function text(count: i32): string {
  let made = "";
  let chance: u32 = count;
  for (let i = 0; i < count; i++) {
    chance = chance * 1664525 + 1013904223;
    made += "w" + (chance >>> 28).toString() + " ";
  }
  return made;
}

export function run(count: i32): i32 {
  const all = entries(words(text(count)));
  let hash = 17;
  for (let i = 0; i < all.length; i++) {
    const line = all[i].key + "=" + all[i].value.toString();
    for (let j = 0; j < line.length; j++) hash = hash * 31 + line.charCodeAt(j);
  }
  if (count == 13) throw new Error("thirteen");
  return hash;
}
