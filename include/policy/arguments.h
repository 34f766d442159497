/*
 * arguments.h - checks the arguments of the management functions.
 *
 * Each raises 22023 (invalid_parameter_value) for what cannot be, unless it
 * says otherwise, naming the argument.
 */
#ifndef BIOMETRIC_POLICY_ARGUMENTS_H
#define BIOMETRIC_POLICY_ARGUMENTS_H

#include "fmgr.h"

/* argument_party returns the name of a party: not NULL, not empty, at most 200 bytes. */
extern char *argument_party(FunctionCallInfo fcinfo, int index);

/* argument_text returns free text of at most 1000 bytes; NULL for NULL. */
extern char *argument_text(FunctionCallInfo fcinfo, int index, const char *name);

/* argument_reason returns a reason: as argument_text, but neither NULL nor blank. */
extern char *argument_reason(FunctionCallInfo fcinfo, int index);

/* argument_kinds returns a text[] of the kinds named, each once, in the order of their codes. */
extern Datum argument_kinds(FunctionCallInfo fcinfo, int index);

/* argument_purposes returns a text[] of the purposes, trimmed; *null for NULL. At most 100. */
extern Datum argument_purposes(FunctionCallInfo fcinfo, int index, bool *null);

/* argument_period checks that a tstzrange is not empty; *null for NULL. */
extern Datum argument_period(FunctionCallInfo fcinfo, int index, const char *name, bool *null);

/*
 * argument_relation returns a relation that may hold images, InvalidOid for
 * NULL. Errors: 42P01 when there is none; 42809 for a view, an index and so on.
 */
extern Oid argument_relation(FunctionCallInfo fcinfo, int index);

#endif
