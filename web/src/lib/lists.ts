// Lists, put in order and into groups.

export function groupBy<K, T>(items: Iterable<T>, key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const at = key(item);
    const group = groups.get(at);
    if (group) group.push(item);
    else groups.set(at, [item]);
  }
  return groups;
}

const names = new Intl.Collator(undefined, { numeric: true });

/** As people sort names: `worker-2` before `worker-10`. */
export function byName(a: { name: string }, b: { name: string }): number {
  return names.compare(a.name, b.name);
}
