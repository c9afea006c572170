// The two statistics the bench uses. Pure.

/** The middle value; of an even count the mean of the two middle ones. Throws RangeError for an empty list. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const high = sorted[half];
  const low = sorted[half - 1];
  if (high === undefined) throw new RangeError("median of nothing");
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
};

/** Rounded to `digits` digits behind the point, so that the result file shows no false precision. */
export const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
