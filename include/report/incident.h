/*
 * incident.h - incidents, the people to be told of one, and who has been told.
 *
 * An incident is a party and a period. Whom it concerns is not stored: it is computed
 * from the ledger each time it is asked for, so that it is never older than
 * what is known. Stored is who was told, when and by what means. Each step,
 * opening, a new deadline, telling, closing, is an entry of event incident,
 * durable before the step is committed.
 */
#ifndef BIOMETRIC_REPORT_INCIDENT_H
#define BIOMETRIC_REPORT_INCIDENT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/hsearch.h"

/* incident_define_settings: biometric_audit.notification_period. From _PG_init. */
extern void incident_define_settings(void);

/* So many keys of rows are listed of a person at most: a jsonb value cannot hold them all. */
#define NOTIFY_ROW_KEYS 1000

/* Somebody to be told: the rows of one subject in one relation. */
typedef struct NotifyPerson
{
	int number;			  /* 0-based place in the list */
	const char *relation; /* qualified name, as the ledger has it */
	const char *subject;  /* canonical text of a JSON object; NULL: nobody knows whose images */
	StringInfo row_keys;  /* the keys of the rows, JSON texts with ", " in between; NULL: none */
	int64 rows;			  /* how many there are; the first NOTIFY_ROW_KEYS are in row_keys */
	uint32 kinds;		  /* bit 1 << ImageKind */
	int64 images;		  /* distinct images released */
	TimestampTz first;	  /* when the first of them was released */
	TimestampTz last;	  /* when the last was; both mean nothing while images is 0 */
	bool notified;		  /* has been told: */
	TimestampTz notified_at;
	const char *means;
} NotifyPerson;

typedef struct NotifyList
{
	int count;
	int space;
	NotifyPerson **people; /* ascending by number; sorted by notify_sort */
	int64 detached;		   /* entries of the party that were detached and may count */
	int64 lost;			   /* images of which entries about their rows were */
	HTAB *by_name;		   /* notify.c's */
} NotifyList;

/*
 * notify_compute lists whom the releases to a party in a period (a tstzrange)
 * concern, in the current memory context, from the ledger as the active
 * snapshot sees it. Time and memory grow with those releases.
 */
extern NotifyList *notify_compute(const char *party, Datum during);

/*
 * notify_find returns the person of a relation and a subject, as canonical text
 * (jsonb's output); NULL: not on the list. notify_sort sorts people by relation
 * and subject, those of whom nobody knows at a relation's end.
 */
extern NotifyPerson *notify_find(const NotifyList *list, const char *relation, const char *subject);
extern void notify_sort(NotifyList *list);

/*
 * notify_add_told marks those of the list who have been told of an incident, and
 * adds those who have, but are not on it. Connected to SPI; the caller may
 * read biometric.notification.
 */
extern void notify_add_told(NotifyList *list, int64 incident);

/* One row of an incident, in the current memory context. */
typedef struct Incident
{
	int64 id;
	char *party;
	Datum during; /* tstzrange */
	bool closed;
	char *closed_at; /* as text; NULL: not closed */
} Incident;

/*
 * incident_read reads an incident; write: locks its row until the transaction ends,
 * between change_begin and change_end. Connected to SPI. Errors: 22023 for NULL,
 * 42704 when there is none.
 */
extern void incident_read(FunctionCallInfo fcinfo, bool write, Incident *incident);

/* incident_require_open raises 55000 for an incident that is closed. */
extern void incident_require_open(const Incident *incident);

#endif
