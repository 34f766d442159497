/*
 * limits.h - keeps enrolments within what collect() declared. For extension/trigger only.
 *
 * An image is judged when it comes into a column, by its header: its dimensions and format by
 * the BEFORE ROW trigger, before anything is done with it, and again, authenticated, by the AFTER
 * ROW trigger, which also counts it for its subject: what ON CONFLICT or another trigger
 * passes over is not counted. An image that the row had before is not judged, and neither
 * is one that comes from where the same declaration holds, be it that an UPDATE moves the row
 * to another partition or that a custodian or superuser loads a dump: it has been collected
 * already.
 *
 * Logical replication is held to dimensions and formats, not to counts: where an image was
 * enrolled it was counted. Images that are adopted, described or resealed are not judged.
 */
#ifndef BIOMETRIC_TRIGGER_LIMITS_H
#define BIOMETRIC_TRIGGER_LIMITS_H

#include "postgres.h"

#include "access/htup.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#include "image/facts.h"
#include "report/limit.h"
#include "trigger/table.h"

/* One declaration that a column is under. */
typedef struct TriggerLimit
{
	CollectionLimit limit;
	int subjects; /* columns that tell its subjects apart, as its own relation describes them */
	TriggerKey *subject;
	bool pins_settings;
} TriggerLimit;

/* A column has no more declarations than bits fit into a word: of its own and its ancestors'. */
#define LIMITS_MAX 32

typedef struct TriggerLimits
{
	int count;
	TriggerLimit *limit;
	bool any;		/* one of them limits anything */
	char *declared; /* purpose and legal basis as a member of what is collected; NULL: none */
} TriggerLimits;

/*
 * limits_describe finds out what a column of a table is under, in the current memory context;
 * NULL: nothing. Error 54000 for more than LIMITS_MAX declarations.
 */
extern TriggerLimits *limits_describe(Relation relation, const char *column);

/*
 * limits_arriving judges an image before it is stored. update: in a row that there is; before: its
 * old value, NULL when it had none; value: as it was given; bound: as it is to be stored. Errors:
 * 23514.
 */
extern void limits_arriving(Relation relation, const TriggerColumn *column, bool update,
							const Datum *before, Datum value, Datum bound);

/*
 * limits_stored judges an image that has been stored in a row, and counts it. before: the header
 * of the image that it replaces; NULL: none. Errors: 23514; 23502 for a row without
 * a subject where they are counted; limit_count's.
 */
extern void limits_stored(Relation relation, const TriggerColumn *column, HeapTuple row,
						  const EnvelopeHeader *before, const ImageFacts *facts);

/*
 * limits_rewritten judges an image that a rewrite has put into a row, likewise. facts: before it
 * is bound.
 */
extern void limits_rewritten(Relation relation, const TriggerColumn *column, HeapTuple row,
							 const ImageFacts *facts);

/*
 * Images that this session has bound to a column where they are counted, by their ids: an image
 * that was bound, and not counted by a (sub)transaction that lasts, has not been collected,
 * whatever its header says. limits_note_bound is said before it is stored, limits_note_counted when
 * it was; limits_not_counted is true also when there were too many to know. Registered by
 * limits_counted_init, from trigger_init.
 */
extern void limits_note_bound(const uint8 *image_id);
extern void limits_note_counted(const uint8 *image_id);
extern bool limits_not_counted(const uint8 *image_id);
extern void limits_counted_init(void);

/*
 * limits_collected adds to what is collected of a row (NULL: nothing) what a column's images are
 * collected for. Result: in the current memory context, or the argument itself.
 */
extern const char *limits_collected(const TriggerColumn *column, const char *collected);

/*
 * limits_exceeding counts the images of a column of a table that exceed any of some
 * declarations (CollectionLimit *), and all of them (NULL: not asked for).
 */
extern uint64 limits_exceeding(Oid relation, const char *column, const List *limits,
							   uint64 *images);

/*
 * limits_check_joined refuses an ALTER TABLE that has taken a table with images under a
 * declaration that they exceed, or under one that counts by subjects, unless it was made by
 * a custodian, who is told, and whom two_person does not keep from loosening
 * limits alone. After the command. Errors: 23514.
 */
extern void limits_check_joined(Node *statement);

#endif
