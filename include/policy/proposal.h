/*
 * proposal.h - changes of the policy that two persons make together.
 *
 * With biometric_audit.two_person = on, a change that gives anybody more than he
 * has is not made but written down, checked as if it were made, and waits until
 * another custodian approves it. Persons are told apart by the login that they were
 * authenticated as, whatever role they have set since; that login must itself
 * be a custodian, so that a SECURITY DEFINER function of one lends nobody a hand.
 *
 * A function that can widen access begins with
 *
 *     if (proposal_wanted(true))
 *     {
 *         proposal_make(fcinfo);
 *         PG_RETURN_NULL();        (or PG_RETURN_VOID)
 *     }
 *
 * (or, where only some changes widen, what it finds out about that instead of true),
 * stands in the table of proposal.c, and makes exactly one call of
 * change_record (or proposal_note), whose detail's "action" is the function's name.
 */
#ifndef BIOMETRIC_POLICY_PROPOSAL_H
#define BIOMETRIC_POLICY_PROPOSAL_H

#include "postgres.h"

#include "fmgr.h"

/* proposal_define_settings: biometric_audit.two_person, .proposal_lifetime; from policy_define_settings. */
extern void proposal_define_settings(void);

/* proposal_shmem_size, proposal_shmem_init: what all sessions know of two_person; as policy's. */
extern Size proposal_shmem_size(void);
extern void proposal_shmem_init(void);

/*
 * proposal_two_persons tells whether biometric_audit.two_person is on: from the moment
 * that the postmaster has read it, also in sessions that have not; switched off, it still
 * counts until they have.
 */
extern bool proposal_two_persons(void);

/*
 * proposal_wanted tells whether a change must be proposed rather than made: it widens
 * access, two_person is on, and this is not the execution of an approved proposal (nor its
 * trial). While two_person is off, a change that widens is noted by change_alone.
 */
extern bool proposal_wanted(bool widens);

/*
 * proposal_proposer returns the role that logged in to propose the call that is being executed; InvalidOid
 * when none is. SQL of his that the call runs is run with his rights, not with those of
 * whoever approves it.
 */
extern Oid proposal_proposer(void);

/*
 * proposal_make tries the change in a subtransaction that it rolls back, so that what is wrong
 * with it is raised now, and writes down the call of the SQL function at hand, with its
 * arguments and what would be recorded. Tells its number by a NOTICE. Returns it.
 * Between no change_begin and change_end: the caller has done nothing yet.
 * Errors: those of the change; 42501 when the session's login is no custodian;
 * 54000 for a change that no entry can hold.
 */
extern int64 proposal_make(FunctionCallInfo fcinfo);

/*
 * proposal_detail is change_record's: given the detail that a function records, it returns
 * what is to be recorded; NULL when the change is only tried. Adds who proposed and who
 * approved it when a proposal is executed. In the current memory context.
 * Errors: 55000 when that is not what was proposed.
 */
extern const char *proposal_detail(const char *detail);

/*
 * proposal_note records the change of a function that has no entry policy_changed of its
 * own, such as adopt(); does nothing unless a proposal is tried or executed.
 */
extern void proposal_note(const char *detail);

#endif
