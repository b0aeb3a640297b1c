import { words, entries } from "./lib";

export function run(count: i32): i32 {
  const numbers = new Array<string>();
  for (let i = 0; i < count; i++) numbers.push(((i * 7919) % 23).toString());
  const all = entries(words(numbers.join(" ")));
  let total: f64 = 0;
  for (let i = 0; i < all.length; i++) total += parseFloat(all[i].key) * Math.sqrt(<f64>all[i].value);
  const shown = total.toString();
  let hash = 0;
  for (let j = 0; j < shown.length; j++) hash = (hash * 33) ^ shown.charCodeAt(j);
  return hash;
}
