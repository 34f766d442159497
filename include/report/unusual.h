/*
 * unusual.h - how much each party and login got in each hour, and which get
 * far more than they used to.
 *
 * Hours are those of UTC. The figures are those of the ledger's entries; where
 * a row of biometric.activity lies within one hour, it stands for its block.
 */
#ifndef BIOMETRIC_REPORT_UNUSUAL_H
#define BIOMETRIC_REPORT_UNUSUAL_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/* unusual_define_settings: biometric_audit.activity_days, .activity_floor. From _PG_init. */
extern void unusual_define_settings(void);

/* Hours are numbered: 0 is the one that began at 2000-01-01 00:00 UTC. */
extern int64 hour_of(TimestampTz at);
extern TimestampTz hour_begin(int64 hour);

/* Something that a party's login got. Borrowed, valid during the call. */
typedef struct HourCount
{
	const char *party; /* "": clients that belong to no party */
	const char *login;
	int64 hour;
	int64 disclosures;
	int64 refusals;
	/* of a single entry: the process of its session, and when the session's entry was made; else 0 */
	int process;
	TimestampTz session_at;
} HourCount;

/* What is to be counted. Zero-initialise, then set what is asked for. */
typedef struct HourQuestion
{
	const char *party; /* NULL: all */
	TimestampTz from;  /* inclusive; DT_NOBEGIN: any */
	TimestampTz until; /* exclusive; DT_NOEND: any */
	bool refusals;	   /* they are asked for, too; else refusals are always 0 */
	bool entries;	   /* each entry by itself, with its session */

	/* whether an hour of a login is asked for; NULL: all are */
	bool (*wanted)(const char *party, const char *login, int64 hour, void *context);

	/* is told that a login was active at a time, also outside of the period; NULL */
	void (*seen)(const char *party, const char *login, TimestampTz at, void *context);

	void (*count)(const HourCount *count, void *context);
	void *context;
} HourQuestion;

/*
 * hours_read counts, of all logs that count as history, in pieces: an hour of a
 * login may come in several. Interruptible. Error 42P01 when a table is gone.
 * Returns how many blocks were detached and cannot be told apart any more: their
 * disclosures are counted in the hour of the first entry, their refusals not.
 */
extern int64 hours_read(const HourQuestion *question, Snapshot snapshot);

#endif
