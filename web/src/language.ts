// The page's language, and numbers, money and dates as it writes them.

import { computed, effect, signal } from "@preact/signals";
import { lastingStorage } from "./api/storage";
import { en, type Text } from "./text/en";
import { ko } from "./text/ko";

export type Language = "en" | "ko";

const STORED = "language";
const chosen = lastingStorage.getItem(STORED);
const preferred = navigator.languages.find((it) => /^(ko|en)\b/.test(it)) ?? "en";

export const language = signal<Language>(
  chosen === "ko" || chosen === "en" ? chosen : preferred.startsWith("ko") ? "ko" : "en",
);

const text = computed<Text>(() => (language.value === "ko" ? ko : en));

/** The texts of the current language. */
export const t = (): Text => text.value;

export function choose(next: Language): void {
  language.value = next;
  lastingStorage.setItem(STORED, next);
}

effect(() => {
  document.documentElement.lang = language.value;
});

const formats = computed(() => {
  const of = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
    new Intl.DateTimeFormat(language.value === "ko" ? "ko-KR" : "en-GB", options);
  // Korean counts to twelve, and without a nought in front.
  const hour = language.value === "ko" ? "numeric" : "2-digit";
  return {
    number: new Intl.NumberFormat(language.value === "ko" ? "ko-KR" : "en-GB"),
    percent: new Intl.NumberFormat(language.value, { style: "percent", maximumFractionDigits: 0 }),
    day: of({ day: "numeric", month: "short", year: "numeric" }),
    dayLong: of({ weekday: "short", day: "numeric", month: "long", year: "numeric" }),
    time: of({ hour, minute: "2-digit" }),
    moment: of({ day: "numeric", month: "short", hour, minute: "2-digit", second: "2-digit" }),
  };
});

export const number = (value: number): string => formats.value.number.format(value);
export const percent = (value: number): string => formats.value.percent.format(value);
export const day = (instant: string): string => formats.value.day.format(new Date(instant));
/** The days from the first to the last, or the one day that they are. */
export const days = (first: string, last: string): string => formats.value.day.formatRange(new Date(first), new Date(last));
export const dayLong = (instant: string): string => formats.value.dayLong.format(new Date(instant));
export const time = (instant: string): string => formats.value.time.format(new Date(instant));
export const dayAndTime = (instant: string): string => `${dayLong(instant)}, ${time(instant)}`;
export const moment = (instant: string): string => formats.value.moment.format(new Date(instant));

/** Points, given as a decimal string: never through a float. */
export function points(amount: string): string {
  const [, sign = "", whole = "0", decimals = ""] = /^(-?)(\d+)(\.\d+)?$/.exec(amount) ?? [];
  return `${sign && "−"}${formats.value.number.format(BigInt(whole))}${decimals} P`;
}

/** Minutes and seconds, as on a clock. */
export function clock(seconds: number): string {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = String(seconds % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A duration as people say it. */
export function duration(seconds: number): string {
  const text = t().durations;
  if (seconds < 60) return text.seconds(Math.max(1, Math.round(seconds)));
  if (seconds < 3600) return text.minutes(Math.round(seconds / 60));
  return text.hours(Math.floor(seconds / 3600), Math.round((seconds % 3600) / 60));
}

/** A price range; one price where both are the same. */
export const prices = (low: string, high: string): string => (low === high ? points(low) : `${points(low)} – ${points(high)}`);

/** The instant at which a day begins for the visitor, or ends; `date` is the value of a field for dates. */
export function instantOf(date: string, end: boolean): string | undefined {
  if (!date) return undefined;
  const at = new Date(`${date}T00:00:00`);
  if (end) at.setDate(at.getDate() + 1);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}
