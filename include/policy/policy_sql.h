/*
 * policy_sql.h - what all SQL of this room is run under, and values out of it.
 */
#ifndef BIOMETRIC_POLICY_POLICY_SQL_H
#define BIOMETRIC_POLICY_POLICY_SQL_H

#include "postgres.h"

#include "policy/policy.h"

/*
 * policy_sql_settings makes names resolve in pg_catalog, and times print in
 * ISO style and UTC whatever the session prefers. Returns the level for
 * policy_sql_settings_end, which brings the session's settings back; so does
 * the end of the (sub)transaction.
 */
extern int policy_sql_settings(void);
extern void policy_sql_settings_end(int level);

/* policy_text returns a text Datum as a C string in the current memory context. */
extern char *policy_text(Datum value);

/* policy_text_array takes a text[] apart; arrays in the current memory context. */
extern void policy_text_array(Datum array, Datum **values, bool **nulls, int *count);

/*
 * delivery_lookup returns the delivery of a name; DELIVERY_REFUSE, and found
 * false, for what is none.
 */
extern Delivery delivery_lookup(const char *name, bool *found);

/* delivery_from_name is delivery_lookup for names that were checked when they were stored. */
extern Delivery delivery_from_name(const char *name);

#endif
