export function median(numbers) {
  return quantile(numbers, 0.5);
}

/** Median with the quartiles: `{ low, median, high }`. Half of all numbers are between the quartiles. */
export function spread(numbers) {
  return {
    low: quantile(numbers, 0.25),
    median: quantile(numbers, 0.5),
    high: quantile(numbers, 0.75),
  };
}

export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

export function shuffled(items) {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

/** Between two numbers, it is where the share falls between them. */
function quantile(numbers, share) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)];
  return below + (sorted[Math.ceil(place)] - below) * (place % 1);
}
