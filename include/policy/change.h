/*
 * change.h - how the management functions change the policy.
 *
 * A change is made as the tables' owner after the caller was found to be a
 * custodian, and queued. Before the transaction commits all its changes
 * (without those of subtransactions that rolled back) become durable ledger
 * entries; a ledger that cannot take them aborts it. After the commit the
 * custodian waits until the policy is published.
 */
#ifndef BIOMETRIC_POLICY_CHANGE_H
#define BIOMETRIC_POLICY_CHANGE_H

#include "postgres.h"

#define CHANGE_MAX_ARGUMENTS 10

typedef struct PolicyChange
{
	Oid caller;
	char *caller_name;
	int saved_context;
	int settings;
} PolicyChange;

/* The arguments of one statement, $1 and so on. Zero-initialise. */
typedef struct ChangeArguments
{
	int count;
	Oid types[CHANGE_MAX_ARGUMENTS];
	Datum values[CHANGE_MAX_ARGUMENTS];
	char nulls[CHANGE_MAX_ARGUMENTS + 1];
} ChangeArguments;

/* change_init registers the transaction callbacks; from policy_init. */
extern void change_init(void);

/*
 * change_begin checks that the caller may change the policy and becomes the
 * tables' owner, connected to SPI, until change_end.
 * Errors: 42501 when the caller is not a member of biometric_custodian,
 * superuser or not; 55000 when this transaction created the extension.
 */
extern void change_begin(PolicyChange *change);
extern void change_end(PolicyChange *change);

/* change_add adds an argument; null tells whether it is NULL. */
extern void change_add(ChangeArguments *arguments, Oid type, Datum value, bool null);

/* change_add_text adds a text argument; NULL for NULL. */
extern void change_add_text(ChangeArguments *arguments, const char *text);

/* change_execute runs one statement on the policy's tables; returns the number of rows. */
extern uint64 change_execute(const char *sql, ChangeArguments *arguments);

/* change_result returns a column (1-based) of the first row as text, NULL for NULL. */
extern char *change_result(int column);

/*
 * change_record queues the entry of a change.
 * detail: JSON object, copied. growth: bytes by which it may make the
 * published policy grow.
 * Errors: 54000 for a detail that no entry can hold, and for a policy that
 * biometric_audit.policy_size cannot hold.
 */
extern void change_record(const PolicyChange *change, const char *detail, Size growth);

#endif
