/*
 * incident.h - an incident as the entries say that made its steps: opened for which party
 * and period, due until when, who was told by what means, closed or not.
 *
 * The server says the same, and is compared with it; what a report shows are the entries.
 */
#ifndef BIOMETRIC_REPORTER_INCIDENT_H
#define BIOMETRIC_REPORTER_INCIDENT_H

#include "reporter/figures.h"
#include "tool/file.h"

struct Count;

/* Somebody who was told, by the first entry that says so. */
typedef struct Told
{
	uint32_t relation;
	uint32_t subject;
	uint32_t means;
	int64_t at;
} Told;

/* Moments INT64_MIN: none; the period's end INT64_MAX: none. Numbers of texts. */
typedef struct Incident
{
	uint64_t id; /* 0: the report is of no incident */
	bool known;	 /* an entry opened it, or the server has it */
	uint32_t party;
	uint32_t title;
	int64_t from;
	int64_t to;
	int64_t opened_at;
	int64_t due_at;
	int64_t closed_at;
	uint64_t people; /* on the list, or told and not on it any more */
	uint64_t notified;
	Told *told;
	uint32_t told_count;
	uint32_t told_capacity;
	NumberMap told_index; /* by relation and subject */
} Incident;

/* incident_clear begins an incident of which nothing is known. */
extern void incident_clear(Incident *incident, uint64_t id);

/* incident_replay goes through the steps that were collected when an archive was counted. */
extern void incident_replay(Incident *incident, const struct Count *count);

/* incident_find_told returns who was told, or NULL. */
extern const Told *incident_find_told(const Incident *incident, uint32_t relation,
									  uint32_t subject);

/* incident_count counts the people of a list and those who were told. */
extern void incident_count(Incident *incident, const struct Count *count);

/* incident_mark notes with each person of a list whether it was told. */
extern void incident_mark(const Incident *incident, struct Count *count);

/* incident_take makes an incident what another is, but for who was told. */
extern void incident_take(Incident *incident, const Incident *other);

/* incident_period reads the text of a tstzrange; moments are whole, its end is not in it. */
extern bool incident_period(Span range, int64_t *from, int64_t *to);

/*
 * incident_compare compares what the server says of an incident with the entries: when
 * something was done is when its transaction began, somewhat before its entry.
 */
extern void incident_compare(const Incident *server, const Incident *recorded, const Texts *texts,
							 Comparison *comparison);

#endif
