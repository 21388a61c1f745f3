const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const LONG_DAY = '(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day';
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
const TIME = '\\d\\d:\\d\\d:\\d\\d';

/** The form that is sent today, and two of older days (RFC 9110, 5.6.7). */
const DATED = new RegExp(
  `^(?:${DAY}, \\d\\d ${MONTH} \\d{4} ${TIME} GMT|${LONG_DAY}, \\d\\d-${MONTH}-\\d\\d ${TIME} GMT)$`,
);
/** That of C names no zone, and means GMT. */
const BY_C = new RegExp(`^${DAY} ${MONTH} [ \\d]\\d ${TIME} \\d{4}$`);

/** A date in a field, in milliseconds since 1970; `undefined` for what is none, such as the `0` of many an `Expires`. */
export function httpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (DATED.test(text)) return timeOf(text);
  return BY_C.test(text) ? timeOf(`${text} GMT`) : undefined;
}

/** The day may be one that no month has. */
function timeOf(text: string): number | undefined {
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}
