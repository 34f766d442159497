/*
 * wider.h - whether a change of a permit gives its party more, at any time from now on.
 *
 * Judged by the rules themselves (choose.h): what the party's permits give with the change
 * is compared with what they give without it, for each kind, purpose and connection, for
 * each time that makes a difference, and for each order of tables that can: the permit's own,
 * and each other that a permit of the party names as its equal or behind it. So it may find a
 * change wider that no descent of tables makes so, and none narrower that is not.
 *
 * Both are asked between change_begin_policy and change_end, by which no permit changes meanwhile.
 */
#ifndef BIOMETRIC_POLICY_WIDER_H
#define BIOMETRIC_POLICY_WIDER_H

#include "postgres.h"

/* wider_without tells it of the revocation of a permit; false for one that is not in force. */
extern bool wider_without(int64 permit);

/*
 * wider_with_quota tells it of another quota (0: none), as far as the choice among the
 * permits goes: whether the quota itself is more is for the caller to ask.
 */
extern bool wider_with_quota(int64 permit, int64 quota);

#endif
