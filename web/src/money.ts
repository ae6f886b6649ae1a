// Points as whole hundredths: decimal strings in, decimal strings out, no float between.

export function hundredths(amount: string): bigint {
  const negative = amount.startsWith("-");
  const [whole = "0", decimals = ""] = amount.replace("-", "").split(".");
  const value = BigInt(whole) * 100n + BigInt(decimals.padEnd(2, "0"));
  return negative ? -value : value;
}

export function amountOf(value: bigint): string {
  const sign = value < 0n ? "-" : "";
  const absolute = value < 0n ? -value : value;
  const decimals = absolute % 100n;
  return `${sign}${absolute / 100n}${decimals === 0n ? "" : `.${String(decimals).padStart(2, "0")}`}`;
}

export const sum = (amounts: readonly string[]): string => amountOf(amounts.reduce((total, it) => total + hundredths(it), 0n));
