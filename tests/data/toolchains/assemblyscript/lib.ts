export class Entry {
  constructor(public key: string, public value: i32) {}
}

export function words(text: string): Map<string, i32> {
  const counts = new Map<string, i32>();
  const parts = text.split(" ");
  for (let i = 0; i < parts.length; i++) {
    const word = parts[i].trim();
    if (word.length) counts.set(word, (counts.has(word) ? counts.get(word) : 0) + 1);
  }
  return counts;
}

export function entries(counts: Map<string, i32>): Entry[] {
  const keys = counts.keys();
  const found = new Array<Entry>();
  for (let i = 0; i < keys.length; i++) found.push(new Entry(keys[i], counts.get(keys[i])));
  found.sort((a, b) => (b.value != a.value ? b.value - a.value : a.key < b.key ? -1 : 1));
  return found;
}
