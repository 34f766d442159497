/*
 * change.h - how the management functions change the policy and incidents.
 *
 * A change is made as the tables' owner after the caller was found to be a
 * custodian, and queued. Before the transaction commits all its changes
 * (without those of subtransactions that rolled back) become durable ledger
 * entries, policy_changed or incident; a ledger that cannot take them aborts it.
 * After the commit the custodian waits until a changed policy is published.
 */
#ifndef BIOMETRIC_POLICY_CHANGE_H
#define BIOMETRIC_POLICY_CHANGE_H

#include "postgres.h"

#include "core/entry.h"

#define CHANGE_MAX_ARGUMENTS 12

/* The longest detail of an entry, in bytes: all its other fields need less than the rest. */
#define CHANGE_DETAIL_SIZE (ENTRY_MAX_SIZE - 1024)

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
 * tables' owner, connected to SPI, until change_end. It keeps nobody else from changing
 * it meanwhile: for incidents, and for quarantine(), which waits for nobody's
 * transaction but one that has changed the same party.
 * Errors: 42501 when the caller is not a member of biometric_custodian,
 * superuser or not; 55000 when this transaction created the extension.
 */
extern void change_begin(PolicyChange *change);

/*
 * change_begin_policy is change_begin for all other changes of the policy, and for what is
 * asked to decide about them: one transaction at a time, until its end. Whatever is
 * asked afterwards sees all that is committed; only quarantine() changes anything meanwhile,
 * so a row of biometric.party is locked before what it says is put on record.
 * Errors: those of change_begin; 25001 in a transaction of a higher isolation level than READ
 * COMMITTED, which sees what was; 25006 in a read-only one.
 */
extern void change_begin_policy(PolicyChange *change);

/*
 * change_begin_checked is change_begin for what others than custodians may do, too:
 * whoever calls it has checked that this caller may. Errors: 55000, as change_begin.
 */
extern void change_begin_checked(PolicyChange *change);

/* change_end goes back to the caller. */
extern void change_end(PolicyChange *change);

/* change_add adds an argument; null tells whether it is NULL. */
extern void change_add(ChangeArguments *arguments, Oid type, Datum value, bool null);

/* change_add_text adds a text argument; NULL for NULL. */
extern void change_add_text(ChangeArguments *arguments, const char *text);

/* change_execute runs one statement on the policy's tables; returns the number of rows. */
extern uint64 change_execute(const char *sql, ChangeArguments *arguments);

/*
 * change_execute_latest is change_execute by what is committed by now, whatever the transaction's
 * own snapshot shows.
 */
extern uint64 change_execute_latest(const char *sql, ChangeArguments *arguments);

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

/*
 * change_record_key is change_record for a change of the keys, event key_changed; what the worker
 * does with it is the business of whoever calls this, the commit waits for one run of its tasks.
 */
extern void change_record_key(const PolicyChange *change, const char *detail);

/*
 * change_alone notes that this transaction widens access by one person. Should two be asked
 * for by the time it commits, it fails: 55000.
 */
extern void change_alone(void);

/*
 * change_cut_off has the connections of a party end as soon as the change that was queued
 * last is committed and in force, and the commit wait for that.
 */
extern void change_cut_off(const char *party);

/*
 * change_record_incident queues an entry of event incident, likewise: a step
 * in an incident, which changes nothing that is published, so that the commit
 * does not wait for publication.
 * Error 54000 for a detail longer than CHANGE_DETAIL_SIZE.
 */
extern void change_record_incident(const PolicyChange *change, const char *detail);

#endif
