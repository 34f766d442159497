/*
 * refusal.h - a refusal is recorded first and raised then, whatever comes of
 * recording it.
 */
#ifndef BIOMETRIC_LEDGER_REFUSAL_H
#define BIOMETRIC_LEDGER_REFUSAL_H

#include "postgres.h"

/* Appends the entries of a refusal and waits for them. */
typedef void (*LedgerRefusalAppend)(void *context);

/*
 * ledger_refusal_record runs append. Returns NULL when the refusal is
 * durable, else why it is not, in the present memory context. The error that
 * is swallowed, be it a cancel, is replaced by the refusal that the caller
 * raises: the statement ends in an error all the same.
 */
extern const char *ledger_refusal_record(LedgerRefusalAppend append, void *context);

/*
 * ledger_refusal_detail is the errdetail of a refusal: the rule, a sentence,
 * and that it is not on record where that is so; the server's log is told
 * why. problem: what ledger_refusal_record has returned. For ereport.
 */
extern int ledger_refusal_detail(const char *rule, const char *problem);

#endif
