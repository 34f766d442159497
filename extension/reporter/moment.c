/*
 * moment.c - dates by the proleptic Gregorian calendar, as ISO 8601 and PostgreSQL have them.
 */
#include "reporter/moment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static const char *const month_names[] = {"January",   "February", "March",	   "April",
										  "May",	   "June",	   "July",	   "August",
										  "September", "October",  "November", "December"};

/* Where a text is read. */
typedef struct Cursor
{
	const char *at;
	const char *end;
} Cursor;

static bool
take_character(Cursor *cursor, char wanted)
{
	if (cursor->at >= cursor->end || *cursor->at != wanted)
		return false;
	cursor->at++;
	return true;
}

/* Takes a number of exactly so many digits, from least to most. */
static bool
take_digits(Cursor *cursor, int digits, int least, int most, int *number)
{
	*number = 0;
	for (int i = 0; i < digits; i++, cursor->at++)
	{
		if (cursor->at >= cursor->end || *cursor->at < '0' || *cursor->at > '9')
			return false;
		*number = *number * 10 + (*cursor->at - '0');
	}
	return *number >= least && *number <= most;
}

/* The number of days from 1970-01-01 to a date, by counting years from March on. */
static int64_t
days_from_date(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void
date_from_days(int64_t days, int *year, int *month, int *day)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t of_era = shifted - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (int) (of_year - (153 * m + 2) / 5 + 1);
	*month = (int) (m < 10 ? m + 3 : m - 9);
	*year = (int) (y + era * 400 + (*month <= 2 ? 1 : 0));
}

static bool
take_date(Cursor *cursor, int64_t *moment)
{
	int year;
	int month;
	int day;
	int again[3];

	if (!take_digits(cursor, 4, 1, 9999, &year) || !take_character(cursor, '-') ||
		!take_digits(cursor, 2, 1, 12, &month) || !take_character(cursor, '-') ||
		!take_digits(cursor, 2, 1, 31, &day))
		return false;
	*moment = days_from_date(year, month, day) * MOMENT_DAY;
	/* 31 April is 1 May, and so not the same when it is written again */
	date_from_days(moment_day(*moment), &again[0], &again[1], &again[2]);
	return again[1] == month && again[2] == day;
}

/* Takes a fraction of a second, of which microseconds count. */
static bool
take_fraction(Cursor *cursor, int64_t *moment)
{
	int64_t worth = SECOND;
	bool any = false;

	if (!take_character(cursor, '.'))
		return true;
	for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++)
	{
		worth /= 10;
		*moment += worth * (*cursor->at - '0');
		any = true;
	}
	return any;
}

static bool
take_time(Cursor *cursor, int64_t *moment)
{
	int hour;
	int minute;
	int second = 0;

	if (!take_digits(cursor, 2, 0, 24, &hour) || !take_character(cursor, ':') ||
		!take_digits(cursor, 2, 0, 59, &minute))
		return false;
	if (take_character(cursor, ':') &&
		(!take_digits(cursor, 2, 0, 60, &second) || !take_fraction(cursor, moment)))
		return false;
	*moment += hour * HOUR + minute * MINUTE + second * SECOND;
	return true;
}

/* Takes Z, or +hh, +hhmm, +hh:mm, +hh:mm:ss. */
static bool
take_offset(Cursor *cursor, int64_t *moment)
{
	int sign = take_character(cursor, '+') ? 1 : take_character(cursor, '-') ? -1 : 0;
	int hours;
	int minutes = 0;
	int seconds = 0;

	if (sign == 0)
		return take_character(cursor, 'Z') || cursor->at == cursor->end;
	if (!take_digits(cursor, 2, 0, 23, &hours))
		return false;
	if (cursor->at < cursor->end)
	{
		(void) take_character(cursor, ':');
		if (!take_digits(cursor, 2, 0, 59, &minutes))
			return false;
	}
	if (take_character(cursor, ':') && !take_digits(cursor, 2, 0, 59, &seconds))
		return false;
	*moment -= sign * (hours * HOUR + minutes * MINUTE + seconds * SECOND);
	return true;
}

bool
moment_parse(const char *text, size_t length, int64_t *moment)
{
	Cursor cursor = {text, text + length};

	*moment = 0;
	if (!take_date(&cursor, moment))
		return false;
	if (cursor.at == cursor.end)
		return true;
	if (!take_character(&cursor, 'T') && !take_character(&cursor, ' '))
		return false;
	return take_time(&cursor, moment) && take_offset(&cursor, moment) && cursor.at == cursor.end;
}

int64_t
moment_day(int64_t moment)
{
	return moment / MOMENT_DAY - (moment % MOMENT_DAY < 0 ? 1 : 0);
}

static int64_t
time_of_day(int64_t moment)
{
	int64_t rest = moment % MOMENT_DAY;

	return rest < 0 ? rest + MOMENT_DAY : rest;
}

void
moment_date(int64_t day, char out[MOMENT_TEXT_MAX])
{
	int year;
	int month;
	int of_month;

	date_from_days(day, &year, &month, &of_month);
	snprintf(out, MOMENT_TEXT_MAX, "%04d-%02d-%02d", year, month, of_month);
}

void
moment_day_words(int64_t day, char out[MOMENT_TEXT_MAX])
{
	int year;
	int month;
	int of_month;

	date_from_days(day, &year, &month, &of_month);
	snprintf(out, MOMENT_TEXT_MAX, "%d %s %d", of_month, month_names[month - 1], year);
}

void
moment_day_short(int64_t day, char out[MOMENT_TEXT_MAX])
{
	int year;
	int month;
	int of_month;

	date_from_days(day, &year, &month, &of_month);
	snprintf(out, MOMENT_TEXT_MAX, "%d %.3s", of_month, month_names[month - 1]);
}

/* Adds the time of the day behind a text that there is. */
static void
add_time(int64_t moment, const char *between, char out[MOMENT_TEXT_MAX])
{
	int64_t of_day = time_of_day(moment);
	size_t length = strlen(out);

	snprintf(out + length, MOMENT_TEXT_MAX - length, "%s%02d:%02d:%02d", between,
			 (int) (of_day / HOUR), (int) (of_day / MINUTE % 60), (int) (of_day / SECOND % 60));
}

void
moment_words(int64_t moment, char out[MOMENT_TEXT_MAX])
{
	size_t length;

	moment_day_words(moment_day(moment), out);
	add_time(moment, ", ", out);
	length = strlen(out);
	snprintf(out + length, MOMENT_TEXT_MAX - length, " UTC");
}

void
moment_text(int64_t moment, char out[MOMENT_TEXT_MAX])
{
	size_t length;

	moment_date(moment_day(moment), out);
	add_time(moment, "T", out);
	length = strlen(out);
	snprintf(out + length, MOMENT_TEXT_MAX - length, ".%06dZ",
			 (int) (time_of_day(moment) % SECOND));
}
