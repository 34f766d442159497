/*
 * moment.h - moments and days, in UTC; microseconds since 1970.
 */
#ifndef BIOMETRIC_REPORTER_MOMENT_H
#define BIOMETRIC_REPORTER_MOMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOMENT_DAY INT64_C(86400000000)
#define MOMENT_TEXT_MAX 64

/*
 * moment_parse reads ISO 8601, as people and PostgreSQL write it: a date, or a date
 * and a time behind a blank or T, with a fraction and an offset if wanted. Without an
 * offset it is UTC. False for anything else.
 */
extern bool moment_parse(const char *text, size_t length, int64_t *moment);

/* moment_day returns the number of the day that a moment is in, 0 for 1970-01-01. */
extern int64_t moment_day(int64_t moment);

/* moment_date writes a day as 2019-05-31. */
extern void moment_date(int64_t day, char out[MOMENT_TEXT_MAX]);

/* moment_words writes a moment for people: 31 May 2019, 14:05:09 UTC. */
extern void moment_words(int64_t moment, char out[MOMENT_TEXT_MAX]);

/* moment_day_words writes a day for people: 31 May 2019. */
extern void moment_day_words(int64_t day, char out[MOMENT_TEXT_MAX]);

/* moment_day_short writes a day for a chart: 31 May. */
extern void moment_day_short(int64_t day, char out[MOMENT_TEXT_MAX]);

/* moment_text writes a moment as ISO 8601 with its fraction, as PostgreSQL reads it. */
extern void moment_text(int64_t moment, char out[MOMENT_TEXT_MAX]);

#endif
