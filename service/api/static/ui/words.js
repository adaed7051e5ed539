// Format numbers for people.

// Fewest draws from which the service gives an interval.
export const LEAST = 20;

export const percent = (share, digits = 1) => {
  const least = 10 ** -(digits + 2);
  if (share > 0 && share < least) return `under ${100 * least}%`;
  if (share < 1 && share > 1 - least) return `over ${(100 - 100 * least).toFixed(digits)}%`;
  return `${(100 * share).toFixed(digits)}%`;
};

// `percent` where there is little room.
export const brief = (share, digits) => percent(share, digits).replace("under ", "<").replace("over ", ">");

export const points = (share) => (share > 0 && share < 0.0005 ? "under 0.1" : (100 * share).toFixed(1));

export const nats = (value) => (value > 0 && value < 0.005 ? "under 0.01" : value.toFixed(2));

// An OOD score is a few nats or a small part of one; an energy is negative.
export const scored = (value) => value.toPrecision(3).replace("-", "−");

export const named = (score) => (score === "one_minus_confidence" ? "1 − confidence" : score.replaceAll("_", " "));

export const milliseconds = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

// A count in steps of a thousand: 1,285,708 B is 1.29 MB.
export const steps = (value, unit) => {
  const power = value < 1e3 ? 0 : Math.min(3, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** power;
  return `${power ? scaled.toPrecision(3) : scaled} ${["", "k", "M", "G"][power]}${unit}`.trim();
};

export const times = (factor) => `${factor < 10 ? factor.toFixed(1) : factor.toFixed(0)} times`;

export const sentence = (words) => (/[.!?]$/.test(words) ? words : `${words}.`);

export const counted = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
