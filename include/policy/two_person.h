/*
 * two_person.h - puts on record that biometric_audit.two_person was switched.
 *
 * It is a setting of the server's files, which nobody asks before it changes. The ledger's
 * worker sees it at its start and after each reload, and compares it with what table
 * biometric.two_person says was put on record last.
 */
#ifndef BIOMETRIC_POLICY_TWO_PERSON_H
#define BIOMETRIC_POLICY_TWO_PERSON_H

#include "postgres.h"

/*
 * two_person_check appends an entry policy_changed, action two_person, when the setting
 * is not what it was, and remembers it as told when that entry is durable: an entry too
 * many may come of a crash, never one too few. From the worker's task, in its transaction;
 * asks for another run of it as long as there is something left to do.
 */
extern void two_person_check(void);

#endif
