/*
 * binding.h - biometric.key_binding, and what biometric.key_pin says of a period; read by the
 * heap, as whoever stores an image needs no right on them.
 */
#ifndef BIOMETRIC_KEYS_BINDING_H
#define BIOMETRIC_KEYS_BINDING_H

#include "postgres.h"

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "core/keyfile.h"
#include "keyring/pins.h"

/* A row that counts. */
typedef struct KeyBinding
{
	Oid relation;
	AttrNumber attribute; /* of a log of this database's own; InvalidAttrNumber: by name */
	NameData column;
	Interval period;
	int rank; /* of its log: the lowest counts */
} KeyBinding;

/* binding_read_all lists all rows that count, in the current memory context. */
extern List *binding_read_all(void);

/*
 * binding_find finds the one for a column: its table's own, or its nearest ancestor's; NULL: none.
 * lineage: as relation_lineage(). Borrowed from bindings.
 */
extern const KeyBinding *binding_find(const List *bindings, const List *lineage,
									  const char *column);

/*
 * binding_look_at_pins reads of biometric.key_pin the highest id that this database has known (0:
 * none), and whether a key that was bound to a home for a time was shredded (its id, 0: none).
 */
extern void binding_look_at_pins(const KeyScope *scope, int64 at_ms, uint32 *highest,
								 uint32 *shredded);

/*
 * binding_read_pins lists what biometric.key_pin says, as the worker would publish it; a PinsReader.
 */
extern int binding_read_pins(KeyPin **pins);

#endif
